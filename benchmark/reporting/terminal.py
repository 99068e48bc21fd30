"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import rich.table
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.reporting.comparison import Label, base_to_new, group_results
from benchmark.reporting.significance import SignificanceTests, left_out
from benchmark.reporting.tables import (
    HARMONIC,
    PAIRED,
    Table,
    halves_table,
    legend,
    narrow_table,
    negatives_table,
    paired_interval_table,
    paired_table,
    transposed,
)
from benchmark.result import BenchResult


def table(results: Sequence[BenchResult], named: Label | None = None) -> RenderableType:
    """Return the main numbers of each comparison for `rich`: one line per method and direction."""
    parts: list[Table | str] = []
    comparisons = group_results(results, named)
    for comparison in comparisons:
        parts += [narrow_table(comparison), legend(comparison)]
        if negatives := negatives_table(comparison):
            parts += [transposed(negatives), negatives.title]
    for base, new in base_to_new(comparisons):
        parts += [halves_table(base, new), HARMONIC]
    return rendered(parts)


def significance_table(tests: SignificanceTests) -> RenderableType:
    """Return significance tests for `rich`."""
    notes = [PAIRED, *(f"Left out: {left_out(each)}" for each in tests.left_out)]
    parts: list[Table | str] = []
    for tested in tests.comparisons:
        parts += [paired_table(tested), *filter(None, [paired_interval_table(tested)])]
    return rendered([*parts, *notes])


def rendered(parts: Sequence[Table | str]) -> Group:
    """Return tables and sentences for `rich`."""
    shown: list[RenderableType] = []
    for part in parts:
        if isinstance(part, str):
            shown.append(Text(part))
            continue
        grid = rich.table.Table(
            title=Text(part.title) if part.title else None,
            title_justify="left",
            box=SIMPLE,
            pad_edge=False,
        )
        for place, name in enumerate(part.head):
            is_text = place < part.text_columns
            grid.add_column(
                Text(name),
                justify="left" if is_text else "right",
                min_width=12 if place == 0 else None,
                overflow="fold",
                no_wrap=is_text and place > 0,
            )
        for row in (*part.rows, *part.foot):
            grid.add_row(*map(Text, row))
        shown.append(grid)
    return Group(*shown)
