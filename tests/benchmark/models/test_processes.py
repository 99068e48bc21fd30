"""Two processes give the results of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmark.models import processes
from benchmark.models.backbone import Features

TESTS = Path(__file__).parents[2]
TRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny import drawn, tiny_backbone

import benchmark
from benchmark import FrozenFeatures
from tests.running import run_method

# Batches of 9, 9 and 6, and 9 rows of validation at a time, do not divide by two.
data = {{split: drawn(split) for split in ("train", "validation", "test")}}
data["validation"] = data["validation"].select(range(9))
where = Path(sys.argv[1])
for name, options, train in {cases!r}:
    run_method(
        name, data, backbone=tiny_backbone(FrozenFeatures(where / "cache")), results=where,
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


def run(folder, launcher):
    """Result files by method."""
    pytest.importorskip("accelerate")
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(TRAIN.format(tests=str(TESTS), cases=CASES))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(folder / "runs")],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return {path.name.partition("-")[0]: path for path in (folder / "runs").glob("*.json")}


TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path):
    alone = run(tmp_path / "one", [])
    together = run(tmp_path / "two", TWO)
    assert set(alone) == set(together) == {name for name, _, _ in CASES}
    for name, path in alone.items():
        one, two = (load_file(each.with_suffix(".safetensors")) for each in (path, together[name]))
        for key, value in one.items():
            assert (value - two[key]).abs().max() < 1e-5, f"{name}: {key}"
        logs = [json.loads(each.read_text())["fit"] for each in (path, together[name])]
        for mine, other in zip(*(log["epochs"] for log in logs), strict=True):
            assert mine["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert mine["validation_mrr"] == pytest.approx(other["validation_mrr"], abs=1e-3)
    assert not list(tmp_path.rglob("*.partial.safetensors"))


def test_a_single_process_encodes_all_rows(monkeypatch):
    """Even if a scheduler has set WORLD_SIZE."""
    import torch

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
