"""`fdrd bench`, killed at random moments, resumes and ends with the same result."""

import json
import signal
from pathlib import Path

import pytest
import safetensors

import fdrd
from tests.command import start_fdrd
from tests.folders import caches_in

TINY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from tiny import clip_model, image_processor, tokenizer

def load():
    return clip_model(), tokenizer(), image_processor()
"""
DYING = """
import os, random, threading, time
import benchmark.training.loop
from benchmark.training import resumable

benchmark.training.loop.EVERY = 0
resumable.SHARE = float("inf")
write, left = resumable.ResumableState.write, int(os.environ.get("WRITES", 0))

def counted(self, tensors, metadata):
    global left
    left -= 1
    if left == 0:  # while it writes, in the next step, or in one after that
        arguments = os.getpid(), int(os.environ["SIGNAL"])
        threading.Timer(random.uniform(0, 0.03), os.kill, arguments).start()
    write(self, tensors, metadata)
    time.sleep(0.01)

resumable.ResumableState.write = counted
"""
BENCH = [
    *("bench", "--method", "coop", "--backbone", "tiny.py:load", "--plugin", "dying"),
    *("-M", "n_ctx=2", "-T", "epochs=3", "-T", "batch_size=4", "-T", "learning_rate=0.05"),
]
"""24 training pairs by fours, three times: 18 steps, of which each kill leaves at least two."""


def position(folder):
    """Return the epochs that are kept, and the steps of the next one."""
    (path,) = (folder / "runs").glob("*.partial.safetensors")
    with safetensors.safe_open(path, "pt") as file:
        kept = json.loads(file.metadata()["training"])
    return len(kept["log"]["epochs"]), len(kept["losses"])


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_numbers(tmp_path):
    with caches_in(tmp_path):
        fdrd.sample(tmp_path / "raw", categories=6, pairs=60, size=48, workers=1)
        fdrd.build(tmp_path / "raw", tmp_path / "data", workers=1)

    def bench(folder, **variables):
        process = start_fdrd(folder, *BENCH, "--data", tmp_path / "data", **variables)
        return process.communicate(timeout=500)[1], process.returncode

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "tiny.py").write_text(TINY)
        (folder / "dying.py").write_text(DYING)
    positions = [(0, 0)]
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        told, code = bench(killed, WRITES="2", SIGNAL=str(int(how)))
        assert code == (130 if how == signal.SIGINT else -signal.SIGKILL), told
        continues = "unfinished training are saved in runs; the same command continues"
        assert (continues in told) == (how == signal.SIGINT)
        positions.append(position(killed))
    assert positions == sorted(set(positions)), "it went back"
    found = []
    for folder in (whole, killed):
        told, code = bench(folder)
        assert code == 0, told
        (path,) = (folder / "runs").glob("*.json")
        result = json.loads(path.read_text())
        for part in (result, *result["fit"]["epochs"]):
            del part["seconds"]
        del result["peak_megabytes"]
        found.append((result, path.with_suffix(".safetensors").read_bytes()))
    assert found[0] == found[1]
    assert not list((killed / "runs").glob("*partial*"))
