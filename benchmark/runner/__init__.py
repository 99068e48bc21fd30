"""One run, from data to result file: `plan` checks and loads, `training` trains, `measurement` measures."""

from benchmark.runner.plan import open_backbone
from benchmark.runner.request import RunRequest
from benchmark.runner.runs import BenchOutcome, run, run_each, run_selected

__all__ = ["BenchOutcome", "RunRequest", "open_backbone", "run", "run_each", "run_selected"]
