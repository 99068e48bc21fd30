"""Results as a Markdown page: tables, settings, and the commands that give the same numbers again."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reporting.comparison import Comparison, base_to_new, compare, percent_columns
from benchmark.reporting.tables import (
    Grid,
    domain_grid,
    halves_grid,
    interval_grid,
    main_grid,
    negatives_grid,
    rank_grid,
    settings_grid,
)
from benchmark.reporting.wording import HARMONIC, commands, gallery, heading, legend, versions
from benchmark.result import BenchResult
from fdrd.text.markup import escape


def markdown(results: Sequence[BenchResult]) -> str:
    """A page with all that is told of some results."""
    parts = ["# Results", ""]
    comparisons = compare(results, percent_columns())
    for comparison in comparisons:
        said = comparison.settings
        parts += [f"## {escape(heading(said))}", "", gallery(said), ""]
        parts += [*_table(main_grid(comparison)), "", legend(comparison), ""]
        for told in (interval_grid, rank_grid, negatives_grid, domain_grid, settings_grid):
            parts += _section(told(comparison))
        parts += _again(comparison)
    for base, new in base_to_new(comparisons):
        grid = halves_grid(base, new)
        parts += [f"## {escape(grid.said)}", "", *_table(grid), "", HARMONIC, ""]
    return "\n".join(parts)


def _section(grid: Grid | None) -> list[str]:
    return [grid.said, "", *_table(grid), ""] if grid else []


def _table(grid: Grid) -> list[str]:
    rows = [[escape(cell) for cell in row] for row in grid.rows]
    rows += [[f"*{first}*", *rest] for first, *rest in grid.foot]
    return [
        f"| {' | '.join(map(escape, grid.head))} |",
        f"|---|{'---:|' * (len(grid.head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _again(comparison: Comparison) -> list[str]:
    lines = [f"$ {line}" for line in commands(comparison)]
    return [
        *("The same numbers again:", "", "```console", *lines, "```", ""),
        *(f"{versions(comparison)}", ""),
    ]
