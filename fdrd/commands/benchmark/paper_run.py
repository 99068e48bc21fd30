"""Run methods by the paper's protocol, for `fdrd reproduce` and `fdrd bench --preset paper`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdrd.commands.console import quiet_transformers, show_progress
from fdrd.commands.options import load_plugins
from fdrd.errors import FdrdError


def run_paper(
    data: str,
    methods: Sequence[str],
    given: Mapping[str, Mapping[str, str]],
    *,
    domain: str | None,
    seeds: range,
    backbone: str | None,
    results: Path,
    jobs: int = 1,
    plugins: Sequence[str] = (),
    device: str | None = None,
) -> Any:
    """Run methods by the paper's protocol, with progress; `given` has the options after `-M` and `-T`."""
    quiet_transformers()
    from benchmark.registry import chosen_methods, distribute

    load_plugins(plugins)
    chosen_methods(methods)
    from benchmark.experiments.execution import run_experiment
    from benchmark.experiments.plan import MethodRow
    from benchmark.experiments.presets import paper_experiment

    options = distribute(methods, given["-M"])
    rows = [MethodRow(method=name, options=options[name]) for name in dict.fromkeys(methods)]
    plan = paper_experiment(
        data, rows, backbone=backbone, domain=domain, seeds=seeds, train=dict(given["-T"]),
        results=str(results),
    )  # fmt: skip
    hint = (
        f"Finished runs and unfinished training are saved in {results}; the same command continues."
    )
    with show_progress(hint) as progress:
        return run_experiment(
            plan, jobs=jobs, plugins=plugins, device=device, allow_code=True, progress=progress
        )


def raise_failed(outcome: Any) -> None:
    """Raise the errors of the cells or methods that failed, each on its own line."""
    if outcome.failed:
        raise FdrdError("\n".join(f"{name} failed: {e}" for name, e in outcome.failed.items()))
