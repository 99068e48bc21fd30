"""Print the results of `fdrd bench`, `fdrd run` and `fdrd demo`, and raise the errors of what failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fdrd.commands.console import print_hint, print_json, print_report
from fdrd.errors import FdrdError


def print_results(outcome: Any, results: Path | str, json: bool) -> None:
    """Print the results as a table and the next commands, or as JSON."""
    from benchmark.reporting.terminal import table
    from benchmark.result import to_json

    if json:
        print_json([to_json(result) for result in outcome.results])
    elif outcome.results:
        print_report(table(outcome.results))
        print_hint(f"\nNext:  fdrd report {results}        fdrd compare {results}")


def raise_failed(outcome: Any) -> None:
    """Raise the errors of the cells or methods that failed, each on its own line."""
    if outcome.failed:
        raise FdrdError("\n".join(f"{name} failed: {e}" for name, e in outcome.failed.items()))
