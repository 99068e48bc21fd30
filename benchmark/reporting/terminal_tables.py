"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmark.evaluation.metrics import DIRECTIONS
from benchmark.reporting.comparison import Comparison, Name, base_to_new, compare, percent_columns
from benchmark.reporting.tables import halves_grid, negatives_grid
from benchmark.reporting.wording import HARMONIC, SHORT, ceiling, heading, legend, number
from benchmark.result import BenchResult


def table(results: Sequence[BenchResult], named: Name | None = None) -> RenderableType:
    """The main numbers of each comparison, for a terminal: a line per method and direction."""
    columns = percent_columns()
    lines = {each: [c for c in columns if c.direction == each] for each in DIRECTIONS}
    both = [column for column in columns if not column.direction]
    parts: list[RenderableType] = []
    comparisons = compare(results, columns, named)
    for comparison in comparisons:
        grid = Table(
            title=Text(heading(comparison.settings)),
            title_justify="left",
            box=SIMPLE,
            pad_edge=False,
        )
        grid.add_column("method", overflow="fold", min_width=12)
        grid.add_column("", no_wrap=True)
        for column in (*lines[DIRECTIONS[0]], *both):
            grid.add_column(column.title.removeprefix("I2T "), justify="right")
        for row in comparison.rows:
            cell = dict(zip((column.title for column in columns), row.cells, strict=True))
            for place, each in enumerate(DIRECTIONS):
                numbers = [*lines[each], *(both if place == 0 else [])]
                printed = [number(cell[column.title]) for column in numbers]
                grid.add_row(Text("" if place else row.label), SHORT[each], *printed)
        for place, each in enumerate(DIRECTIONS):
            printed = [ceiling(comparison, column) for column in lines[each]]
            grid.add_row("" if place else "ceiling", SHORT[each], *printed)
        parts += [grid, Text(legend(comparison)), *_negatives(comparison)]
    for base, new in base_to_new(comparisons):
        halves = halves_grid(base, new)
        title = Text(halves.said)
        grid = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
        for name in halves.head:
            grid.add_column(name, justify="left" if name in halves.head[:2] else "right")
        for cells in halves.rows:
            grid.add_row(*map(Text, cells))
        parts += [grid, Text(HARMONIC)]
    return Group(*parts)


def _negatives(comparison: Comparison) -> list[RenderableType]:
    """Hard negatives on their side: a line for each kind, so that names of many kinds fit."""
    found = negatives_grid(comparison)
    if found is None:
        return []
    grid = Table(box=SIMPLE, pad_edge=False)
    grid.add_column("hard negatives", no_wrap=True)
    columns = [*found.rows, *found.foot]
    for name, *_ in columns:
        grid.add_column(Text(name), justify="right", overflow="fold")
    for place, kind in enumerate(found.head[1:], 1):
        grid.add_row(Text(kind), *(column[place] for column in columns))
    return [grid, Text(found.said)]
