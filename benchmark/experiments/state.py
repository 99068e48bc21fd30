"""Which cells of an experiment have a result, by names: `fdrd run --dry-run` loads no backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmark.experiments.plan import Cell, Experiment
from benchmark.experiments.presets import TAG
from benchmark.result import BenchResult, read_results
from benchmark.training.row_selection import Data, training_domain


def states(
    experiment: Experiment, given: Mapping[str, Data] | None = None
) -> list[tuple[Cell, str]]:
    """Return `finished` or `to do` for each cell.

    Names are compared, not contents: a cell whose data, backbone or code has changed since runs again although it
    is listed as finished.

    Args:
        experiment: what is to be run.
        given: splits by a name in the experiment.

    Raises:
        FdrdError: a file in the folder of results is invalid.
    """
    folder = Path(experiment.results)
    found = read_results(folder) if any(folder.glob("*.json")) else []
    return [
        (cell, "finished" if any(_is_of(cell, result) for result in found) else "to do")
        for cell in experiment.cells(given)
    ]


def _is_of(cell: Cell, result: BenchResult) -> bool:
    settings, protocol, row = result.settings, cell.protocol, cell.row
    trains = bool(settings.learned_from)
    other = training_domain(protocol.domain, protocol.train_domain) != protocol.domain
    pairs = [(settings.options_given, row.options)]
    pairs += [(settings.train_given, row.train)] if trains else []
    if row.search:
        same = result.tuning is not None and all(a.items() >= b.items() for a, b in pairs)
    else:
        same = all(a == b for a, b in pairs)
    return (
        same
        and settings.method == row.method
        and settings.seed in (cell.seed, None)
        and (settings.data.name, settings.domain) == (cell.data, protocol.domain)
        and cell.backbone in (None, settings.backbone.name)
        and (settings.split, settings.gallery) == (protocol.split, protocol.gallery)
        and settings.hard_negatives == protocol.hard_negatives
        and settings.shots == (protocol.shots if trains else None)
        and settings.train_domain == (protocol.train_domain if trains and other else None)
        and (not settings.train or (TAG in settings.remarks) == (protocol.preset == TAG))
        and settings.half == (cell.half if protocol.categories else None)
    )
