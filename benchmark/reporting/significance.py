"""One method against the others, with paired tests: what `fdrd compare` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmark.evaluation.metrics import DIRECTIONS
from benchmark.evaluation.paired_tests import PARTS, Difference
from benchmark.reporting.comparison import (
    LEVEL,
    Comparison,
    Row,
    compare,
    differences,
    label,
    measured,
    side,
)
from benchmark.reporting.wording import SHORT, heading
from benchmark.result import BenchResult, Settings, read_runs
from fdrd.errors import FdrdError

PREFERRED = ("dcar", "zero_shot")
"""What the others are set against unless a method is named: the first that is there."""


@dataclass(frozen=True)
class Versus:
    """The methods of a comparison, each against one of them."""

    settings: Settings
    against: Row
    others: list[Row]
    differences: list[dict[str, Difference]]
    """of each other method to `against`, for each of `PARTS`"""


def compare_runs(
    paths: Sequence[Path], against: str | None = None
) -> tuple[list[Versus], list[Comparison]]:
    """Result files, and folders of them, as one `Versus` for each thing that was measured.

    Args:
        paths: files, which must all be comparable; and folders, of which what is alone is left out.
        against: a method, or a row's whole label; else the first of `PREFERRED` that is there, else
            the first row.

    Returns:
        What can be compared, and what is left out.

    Raises:
        FdrdError: there is nothing to compare, or `against` is no single row.
    """
    named = compare(read_runs([path for path in paths if not path.is_dir()]), [])
    if len(named) > 1:
        raise FdrdError(f"these runs cannot be compared: {_apart(named[0], named[1])}")
    found = compare(read_runs(paths), [])
    alone = [comparison for comparison in found if len(comparison.rows) < 2]
    if len(alone) == len(found):
        reason = _apart(found[0], found[1]) if len(found) > 1 else "all are seeds of one method"
        raise FdrdError(
            f"nothing to compare: {reason}; give runs of several methods, measured on the same"
        )
    pairs = [comparison for comparison in found if comparison not in alone]
    return [_versus(comparison, against) for comparison in pairs], alone


def verdict(difference: Difference) -> str:
    """What the corrected test allows to be said of the method, as against the reference.

    >>> verdict(Difference(0.02, (0.01, 0.03), 0.001, 0.004))
    'better'
    """
    if difference.holm >= LEVEL:
        return "no difference shown"
    return "better" if difference.value > 0 else "worse"


def versus_table(found: Sequence[Versus], alone: Sequence[Comparison] = ()) -> RenderableType:
    """For the terminal: three lines for each method, both directions and their mean."""
    parts: list[RenderableType] = []
    for each in found:
        title = f"{heading(each.settings)}: MRR against {each.against.label}"
        grid = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
        grid.add_column("method", overflow="fold", min_width=12)
        grid.add_column("", no_wrap=True)
        for name in ("MRR", "against", "difference", "95 % interval", "p", "Holm p"):
            grid.add_column(name, justify="right", no_wrap=True)
        grid.add_column("verdict")
        for row, differing in zip(each.others, each.differences, strict=True):
            for place, part in enumerate(PARTS):
                one = differing[part]
                grid.add_row(
                    Text("" if place else row.label),
                    SHORT.get(part, part),
                    f"{100 * mrr(row, part):.2f}",
                    f"{100 * mrr(each.against, part):.2f}",
                    f"{100 * one.value:+.2f}",
                    "[{:+.2f}, {:+.2f}]".format(*(100 * end for end in one.interval)),
                    _p(one.p),
                    _p(one.holm),
                    verdict(one),
                )
        parts.append(grid)
    parts.append(
        Text(
            "Percent; means over seeds. Paired randomisation over images, two-sided; Holm over the "
            f"methods, in each line's direction by itself; a verdict needs a Holm p below {LEVEL}."
        )
    )
    parts += [Text(f"Left out: {_alone(each)}") for each in alone]
    return Group(*parts)


def ablation_table(
    results: Sequence[BenchResult],
    variants: Mapping[str, Mapping[str, Any]],
    whole: Mapping[str, Any],
) -> RenderableType:
    """The variants of a method against the whole of it, and what each of them is called.

    Args:
        results: of the variants.
        variants: options by name.
        whole: options of the variant that the others are tested against; without a result of it there
            are names alone.
    """
    labels = {label(r.settings): r.settings.options_given for r in results}
    names = [
        f"{row}: {name}"
        for row, options in labels.items()
        for name, own in variants.items()
        if own == options
    ]
    against = next((row for row, options in labels.items() if options == whole), None)
    pairs = [each for each in compare(results, []) if len(each.rows) > 1] if against else []
    return Group(versus_table([_versus(each, against) for each in pairs]), Text("\n".join(names)))


def versus_json(found: Sequence[Versus], alone: Sequence[Comparison] = ()) -> dict[str, Any]:
    """The same for machines, as fractions."""
    return {
        "comparisons": [
            {
                **measured(each.settings),
                "name": heading(each.settings),
                "against": each.against.label,
                "methods": [
                    {
                        "method": row.label,
                        **{
                            part: {
                                "mrr": mrr(row, part),
                                "mrr_against": mrr(each.against, part),
                                **_difference_json(differing[part]),
                            }
                            for part in PARTS
                        },
                    }
                    for row, differing in zip(each.others, each.differences, strict=True)
                ],
            }
            for each in found
        ],
        "left_out": [_alone(each) for each in alone],
    }


def _difference_json(difference: Difference) -> dict[str, Any]:
    said = asdict(difference)
    return {"difference": said.pop("value"), **said, "verdict": verdict(difference)}


def mrr(row: Row, part: str) -> float:
    """Mean over seeds, of a direction or of both."""
    chosen = [part] if part in DIRECTIONS else DIRECTIONS
    values = [side(result, each).strict.mrr for result in row.results for each in chosen]
    return sum(values) / len(values)


def _versus(comparison: Comparison, against: str | None) -> Versus:
    reference = _reference(comparison, against)
    others = [row for row in comparison.rows if row is not reference]
    found = differences(reference.results, [row.results for row in others])
    return Versus(comparison.settings, reference, others, found)


def _reference(comparison: Comparison, against: str | None) -> Row:
    rows = comparison.rows
    for name in PREFERRED if against is None else (against,):
        exact = [row for row in rows if row.label == name]
        same = exact or [row for row in rows if row.results[0].settings.method == name]
        if len(same) == 1:
            return same[0]
        if same:
            labels = ", ".join(repr(row.label) for row in same)
            raise FdrdError(f"{len(same)} rows are of {name}; give --against one of {labels}")
    if against is None:
        return rows[0]
    labels = ", ".join(repr(row.label) for row in rows)
    raise FdrdError(
        f"--against {against}: not measured on {heading(comparison.settings)}; choose from {labels}"
    )


def _apart(one: Comparison, other: Comparison) -> str:
    """Two methods, and in what the measuring of one differs from that of the other."""
    first, second = measured(one.settings), measured(other.settings)
    reasons = []
    for name in first:
        if first[name] != second[name]:
            values = [
                _said(each.settings, name, value)
                for each, value in ((one, first[name]), (other, second[name]))
            ]
            reasons.append(f"other {name} ({values[0]}, {values[1]})")
    return f"{one.rows[0].label} and {other.rows[0].label} have {' and '.join(reasons)}"


def _said(settings: Settings, name: str, value: str) -> str:
    """One of `measured` for a reader, who sees of a digest where it begins."""
    if name == "data":
        where = [settings.data.name, *([settings.domain] if settings.domain else [])]
        return f"{' '.join(where)} {value[:8]}"
    if name == "backbone":
        return f"{settings.backbone.name} {value[:8]}"
    if name == "base categories" and settings.categories:
        return f"{settings.categories.name} {value[:8]}"
    return value


def _alone(comparison: Comparison) -> str:
    (row,) = comparison.rows
    return f"{row.label}, the only method measured on {heading(comparison.settings)}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
