"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.reporting.significance import SignificanceTests
from benchmark.reporting.tables import Table, main_parts, significance_parts
from benchmark.result import BenchResult
from fdrd.text.grid import Grid


def table(results: Sequence[BenchResult]) -> RenderableType:
    """Return the main numbers of each comparison for `rich`: one line per method, the best MRR first."""
    return rendered(main_parts(results))


def significance_table(tests: SignificanceTests) -> RenderableType:
    """Return significance tests for `rich`."""
    return rendered(significance_parts(tests))


def rendered(parts: Sequence[Table | str]) -> Group:
    """Return tables and sentences for `rich`, with an empty line before each table."""
    shown: list[RenderableType] = []
    for part in parts:
        if isinstance(part, str):
            shown.append(Text(part, style="dim"))
            continue
        shown += [
            Text(""),
            Grid(part.titles, [*part.rows, *part.foot], part.title, part.best, len(part.foot)),
        ]
    return Group(*shown)
