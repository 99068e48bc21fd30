"""One run, from description to result file: `plan` checks and loads, `training` trains, `measurement` measures."""

from benchmark.runner.description import Resources, Run
from benchmark.runner.plan import open_backbone
from benchmark.runner.runs import (
    BenchOutcome,
    answering,
    evaluate,
    evaluate_runs,
    execute,
    run,
    run_selected,
)

__all__ = [
    "BenchOutcome",
    "Resources",
    "Run",
    "answering",
    "evaluate",
    "evaluate_runs",
    "execute",
    "open_backbone",
    "run",
    "run_selected",
]
