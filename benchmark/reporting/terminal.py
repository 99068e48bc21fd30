"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from benchmark.reporting.comparison import Comparison, group_results
from benchmark.reporting.significance import SignificanceTests
from benchmark.reporting.tables import (
    Table,
    legend,
    narrow_table,
    negatives_table,
    pairs_table,
    significance_parts,
    summary,
    transposed,
)
from benchmark.result import BenchResult


def table(results: Sequence[BenchResult]) -> RenderableType:
    """Return the main numbers of each comparison for `rich`: one line per method and direction."""

    def parts(comparison: Comparison) -> list[Table | str]:
        shown: list[Table | str] = [narrow_table(comparison), legend(comparison)]
        for title, found in (
            ("hard negatives", negatives_table(comparison)),
            ("natural pairs", pairs_table(comparison)),
        ):
            shown += [transposed(found, title), found.title] if found else []
        return shown

    return rendered(summary(group_results(results), parts))


def significance_table(tests: SignificanceTests) -> RenderableType:
    """Return significance tests for `rich`."""
    return rendered(significance_parts(tests))


def rendered(parts: Sequence[Table | str]) -> Group:
    """Return tables and sentences for `rich`."""
    shown: list[RenderableType] = []
    for part in parts:
        if isinstance(part, str):
            shown.append(Text(part))
            continue
        shown.append(_Fitting(part))
    return Group(*shown)


@dataclass(frozen=True)
class _Fitting:
    """A table without the columns for which the terminal is too narrow."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        hidden: list[str] = []
        wide = options.update(width=1000)
        for name in (*self.table.spare, ""):
            grid = _grid(self.table, hidden)
            if console.measure(grid, options=wide).maximum <= options.max_width:
                break
            hidden.append(name)
        else:
            grid.columns[0].width = 17  # numbers fold at " ±" before names take their room
        yield grid


def _grid(table: Table, hidden: Sequence[str]) -> rich.table.Table:
    grid = rich.table.Table(
        title=Text(table.title) if table.title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    kept = [index for index, name in enumerate(table.head) if name not in hidden]
    for index in kept:
        is_text = index < table.text_columns
        grid.add_column(
            Text(table.head[index]),
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=is_text and index > 0,
        )
    for row in (*table.rows, *table.foot):
        grid.add_row(*(Text(row[index]) for index in kept))
    return grid
