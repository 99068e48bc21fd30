"""`fdrd bench`, killed at random steps, resumes and ends with the same result."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
import safetensors

from tests.command import start_fdrd

TESTS = Path(__file__).parent.parent
TINY = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from tiny import clip_model, image_processor, tokenizer

def load():
    return clip_model(), tokenizer(), image_processor()
"""
KEPT_OFTEN = """
import time
import benchmark.training.loop
import benchmark.training.resumable

benchmark.training.loop.EVERY = 0
benchmark.training.resumable.SHARE = float("inf")
write = benchmark.training.resumable.ResumableState.write

def slowly(self, tensors, metadata):
    write(self, tensors, metadata)
    time.sleep(0.1)

benchmark.training.resumable.ResumableState.write = slowly
"""
BENCH = [
    *("bench", "--method", "coop", "--backbone", "tiny.py:load", "--plugin", "kept_often"),
    *("-M", "n_ctx=2", "-T", "epochs=3", "-T", "batch_size=4", "-T", "learning_rate=0.05"),
]
STEPS = 18
"""24 training pairs by fours, three times."""


def finish(process):
    stderr = process.communicate(timeout=500)[1]
    assert process.returncode == 0, stderr
    return stderr


def position(folder):
    """Epochs and steps of the next one that are kept; none before anything is."""
    for path in (folder / "runs").glob("*.partial.safetensors"):
        with safetensors.safe_open(path, "pt") as file:
            said = json.loads(file.metadata()["training"])
            return len(said["log"]["epochs"]), len(said["losses"])
    return 0, 0


def stop_at(process, folder, step, how):
    """Sends a signal once so many steps are kept."""
    while process.poll() is None:
        epochs, steps = position(folder)
        if epochs * STEPS // 3 + steps >= step:
            time.sleep(random.uniform(0, 0.1))  # anywhere in a step, or between two
            process.send_signal(how)
            return process.communicate(timeout=100)[1]
        time.sleep(0.01)
    raise AssertionError(process.communicate()[1])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    finish(start_fdrd(folder, "sample", "raw", "--categories", 6, "--pairs", 60, "--size", 48))
    finish(start_fdrd(folder, "build", "--source", "raw"))
    return folder / "data" / "fdrd"


def place(folder):
    folder.mkdir()
    (folder / "tiny.py").write_text(TINY)
    (folder / "kept_often.py").write_text(KEPT_OFTEN)
    return folder


@pytest.mark.slow
def test_killed_at_random_steps_it_ends_with_the_same_numbers(data, tmp_path):
    whole, killed = place(tmp_path / "whole"), place(tmp_path / "killed")
    finish(start_fdrd(whole, *BENCH, "--data", data))
    targets = sorted(random.sample(range(1, STEPS - 1), 4))
    places = []
    for number, step in enumerate(targets):
        how = signal.SIGINT if number == 1 else signal.SIGKILL
        process = start_fdrd(killed, *BENCH, "--data", data)
        said = stop_at(process, killed, step, how)
        assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), said
        if how == signal.SIGINT:
            assert "unfinished training are saved in runs; the same command continues" in said
        places.append(position(killed))
    assert places == sorted(places), f"it went back: {places}"
    assert any(steps % (STEPS // 3) for _, steps in places), f"never inside of an epoch: {places}"
    finish(start_fdrd(killed, *BENCH, "--data", data))
    (one,), (other,) = (list((folder / "runs").glob("*.json")) for folder in (whole, killed))
    first, second = json.loads(one.read_text()), json.loads(other.read_text())
    for result in (first, second):
        del result["seconds"], result["peak_megabytes"]
        for epoch in result["fit"]["epochs"]:
            del epoch["seconds"]
    assert first == second, targets
    learned = [path.with_suffix(".safetensors").read_bytes() for path in (one, other)]
    assert learned[0] == learned[1], targets
    assert not list((killed / "runs").glob("*partial*"))
