"""Processes of two machines that share the results and nothing else give the results of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmark.models import processes
from benchmark.models.backbone import Features

TESTS = Path(__file__).parents[2]
TRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny import drawn, tiny_backbone

from benchmark import FrozenFeatures
from tests.running import run_method

# Batches of 9, 9 and 6, and 9 rows of validation at a time, do not divide by two.
data = {{split: drawn(split) for split in ("train", "validation", "test")}}
data["validation"] = data["validation"].select(range(9))
results, cache = sys.argv[1:]
for name, options, train in {cases!r}:
    run_method(
        name, data, backbone=tiny_backbone(FrozenFeatures(Path(cache))), results=results,
        options=options, train={{"epochs": 2, "batch_size": 9, "learning_rate": 0.05, **train}},
    )
"""
# SGD, because the bias of keys has only rounding as gradient, which AdamW would amplify.
SGD = {"optimizer": "sgd"}
CASES = [
    ("coop", {"n_ctx": 4}, SGD),
    ("full", {}, {**SGD, "chunk_size": 2}),
    ("clip_adapter", {}, SGD),
]
"""Prompts in one tower; both towers; no tower, because features are cached."""


def run(folder, *results):
    """Run with as many machines as there are folders of results; return exit codes and what they printed."""
    pytest.importorskip("accelerate")
    script = folder / "train.py"
    script.write_text(TRAIN.format(tests=str(TESTS), cases=CASES))
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    nodes = ["-m", "torch.distributed.run", "--nnodes", "2", "--rdzv-endpoint", endpoint]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    started = []
    for rank, target in enumerate(results):
        launcher = [*nodes, "--node-rank", str(rank)] if len(results) > 1 else []
        command = [sys.executable, *launcher, script, target, folder / f"cache{rank}"]
        options = {"env": environment, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=folder, **options))
    told = [process.communicate(timeout=500)[1] for process in started]
    return [process.returncode for process in started], "".join(told)


@pytest.mark.slow
def test_two_machines_give_the_results_of_one_process(tmp_path):
    for machines in (["one"], ["two", "two"]):
        codes, told = run(tmp_path, *(tmp_path / each for each in machines))
        assert not any(codes), told
    files = [sorted((tmp_path / each).glob("*.json")) for each in ("one", "two")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert len(files[0]) == len(CASES)
    for pair in zip(*files, strict=True):
        one, two = (load_file(each.with_suffix(".safetensors")) for each in pair)
        for key, value in one.items():
            assert (value - two[key]).abs().max() < 1e-5, f"{pair[0].name}: {key}"
        logs = [json.loads(each.read_text())["fit"] for each in pair]
        for mine, other in zip(*(log["epochs"] for log in logs), strict=True):
            assert mine["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert mine["validation_mrr"] == pytest.approx(other["validation_mrr"], abs=1e-3)
    assert not list(tmp_path.rglob("*.partial.safetensors"))
    codes, told = run(tmp_path, tmp_path / "two", tmp_path / "mine")
    assert 0 not in codes  # an error, and no deadlock
    assert "two differs between the machines" in told


def test_a_single_process_encodes_all_rows(monkeypatch):
    """Even if a scheduler has set WORLD_SIZE."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    processes._state.cache_clear()
    seen = []

    def encode(rows):
        seen.append(rows)
        return Features(torch.ones(5, 2))

    try:
        assert processes.is_main()
        assert len(processes.shared(5, encode)) == 5
        assert processes.agreed(0.5) == 0.5
        assert processes.all_agree("alone")
    finally:
        processes._state.cache_clear()
    assert seen == [slice(0, 5)]
