"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import rich.table
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.evaluation.paired_tests import PARTS
from benchmark.reporting.comparison import (
    LEVEL,
    SHORT,
    Label,
    base_to_new,
    group_results,
    main_columns,
)
from benchmark.reporting.significance import (
    PairedComparison,
    SignificanceTests,
    left_out,
    mrr,
    verdict,
)
from benchmark.reporting.tables import (
    HARMONIC,
    Table,
    halves_table,
    heading,
    legend,
    narrow_table,
    negatives_table,
    transposed,
)
from benchmark.result import BenchResult


def table(results: Sequence[BenchResult], named: Label | None = None) -> RenderableType:
    """Return the main numbers of each comparison for `rich`: one line per method and direction."""
    parts: list[RenderableType] = []
    comparisons = group_results(results, main_columns(), named)
    for comparison in comparisons:
        parts += [_rendered(narrow_table(comparison)), Text(legend(comparison))]
        if negatives := negatives_table(comparison):
            parts += [_rendered(transposed(negatives)), Text(negatives.title)]
    for base, new in base_to_new(comparisons):
        parts += [_rendered(halves_table(base, new)), Text(HARMONIC)]
    return Group(*parts)


def significance_table(tests: SignificanceTests) -> RenderableType:
    """Return significance tests for `rich`: three lines per method, both directions and their mean."""
    parts: list[RenderableType] = [_rendered(_paired_table(each)) for each in tests.comparisons]
    note = (
        "Percent; means over seeds. Two-sided paired randomization test over images; Holm correction over "
        f"the methods, separately for each direction; a verdict needs a corrected p below {LEVEL}."
    )
    return Group(*parts, Text(note), *(Text(f"Left out: {left_out(e)}") for e in tests.left_out))


def ablation_table(tests: SignificanceTests, names: Mapping[str, str]) -> RenderableType:
    """Return the variants of a method against the full method, and the name of each variant."""
    lines = "\n".join(f"{row}: {name}" for row, name in names.items())
    return Group(significance_table(tests), Text(lines))


def _paired_table(tested: PairedComparison) -> Table:
    rows = []
    for row, differences in zip(tested.others, tested.differences, strict=True):
        for place, part in enumerate(PARTS):
            found = differences[part]
            rows.append(
                [
                    "" if place else row.label,
                    SHORT.get(part, part),
                    f"{100 * mrr(row, part):.2f}",
                    f"{100 * mrr(tested.against, part):.2f}",
                    f"{100 * found.value:+.2f}",
                    "[{:+.2f}, {:+.2f}]".format(*(100 * end for end in found.interval)),
                    *("< 0.0001" if p < 0.0001 else f"{p:.4f}" for p in (found.p, found.holm)),
                    verdict(found),
                ]
            )
    head = ["method", "", "MRR", "against", "difference", "95 % interval", "p", "Holm p", "verdict"]
    title = f"{heading(tested.settings)}: MRR against {tested.against.label}"
    return Table(title, head, rows, text_columns=2)


def _rendered(shown: Table) -> rich.table.Table:
    grid = rich.table.Table(
        title=Text(shown.title) if shown.title else None,
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
    )
    for place, name in enumerate(shown.head):
        is_text = place < shown.text_columns
        grid.add_column(
            Text(name),
            justify="left" if is_text else "right",
            min_width=12 if place == 0 else None,
            overflow="fold",
            no_wrap=is_text and place > 0,
        )
    for row in (*shown.rows, *shown.foot):
        grid.add_row(*map(Text, row))
    return grid
