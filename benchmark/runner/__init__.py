"""One run, from description to result file: `plan` checks and loads, `training` trains, `measurement` measures.

Names are imported on first use, so a description of runs can be read without torch.
"""

from typing import TYPE_CHECKING

from fdrd.lazy import lazy_exports

if TYPE_CHECKING:
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

__all__, __getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "benchmark.runner.description": "Resources Run",
        "benchmark.runner.plan": "open_backbone",
        "benchmark.runner.runs": (
            "BenchOutcome answering evaluate evaluate_runs execute run run_selected"
        ),
    },
)
