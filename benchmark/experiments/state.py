"""Which runs of an experiment have a result, by names: `fdrd run --dry-run` loads no backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmark.experiments.plan import Experiment
from benchmark.models.loading import default_backbone
from benchmark.registry import takes
from benchmark.result import read_results
from benchmark.runner import Run
from benchmark.training.row_selection import Data


def states(
    experiment: Experiment, given: Mapping[str, Data] | None = None
) -> list[tuple[Run, str]]:
    """Return `finished` or `to do` for each run.

    Names are compared, not contents: a run whose data, backbone or code has changed since runs again although it
    is listed as finished.

    Args:
        experiment: what is to be run.
        given: splits by a name in the experiment.

    Raises:
        FdrdError: a file in the folder of results is invalid.
    """
    folder = Path(experiment.results)
    found = read_results(folder) if any(folder.glob("*.json")) else []
    answered = {(asked, r.settings.seed) for r in found for asked in r.settings.asked}

    def state(cell: Run) -> str:
        asked = identity(cell)  # a result without a seed answers every seed
        return "finished" if {(asked, cell.seed), (asked, None)} & answered else "to do"

    return [(cell, state(cell)) for cell in experiment.cells(given)]


def identity(cell: Run) -> str:
    """Return the identity of a run of an experiment, with the name of the backbone that it uses."""
    if not takes(cell.method, "backbone"):
        return cell.changed(backbone=None).identity()
    return cell.changed(backbone=cell.backbone or default_backbone(cell.data)).identity()
