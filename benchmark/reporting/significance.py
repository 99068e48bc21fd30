"""Compare methods with one of them by paired significance tests: what `fdrd compare` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.evaluation.paired_tests import PARTS, Difference
from benchmark.reporting.comparison import (
    LEVEL,
    Comparison,
    Row,
    all_intervals,
    group_results,
    heading,
    label,
    measured,
)
from benchmark.result import BenchResult, open_results
from benchmark.settings import Settings
from fdrd.errors import FdrdError


@dataclass(frozen=True)
class PairedComparison:
    """The methods of a comparison, each tested against a reference method."""

    settings: Settings
    against: Row
    others: list[Row]
    differences: list[dict[str, Difference]]
    """of each other method to `against`, for each of `PARTS`"""


@dataclass(frozen=True, repr=False)
class SignificanceTests:
    """One `PairedComparison` for each thing that was measured, and methods without a counterpart."""

    comparisons: list[PairedComparison]
    left_out: list[Comparison]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data; numbers are fractions."""
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
                                    "mrr": row.mrr(part),
                                    "mrr_against": each.against.mrr(part),
                                    "difference": found.value,
                                    **{k: v for k, v in asdict(found).items() if k != "value"},
                                    "verdict": verdict(found),
                                }
                                for part, found in parts.items()
                            },
                        }
                        for row, parts in zip(each.others, each.differences, strict=True)
                    ],
                }
                for each in self.comparisons
            ],
            "left_out": [left_out(each) for each in self.left_out],
        }

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with a row per method and direction; MRR and differences are fractions."""
        import pandas

        rows = []
        for tests in self.to_json()["comparisons"]:
            for row in tests["methods"]:
                shared = {
                    "name": tests["name"],
                    "against": tests["against"],
                    "method": row["method"],
                }
                rows += [{**shared, "direction": part, **row[part]} for part in PARTS]
        return pandas.DataFrame.from_records(rows)

    def __repr__(self) -> str:
        lines = []
        for each in self.comparisons:
            lines.append(f"MRR against {each.against.label} on {heading(each.settings)}:")
            for row, parts in zip(each.others, each.differences, strict=True):
                mean = parts["mean"]
                lines.append(f"  {row.label}: {100 * mean.value:+.2f} points, {verdict(mean)}")
        return "\n".join([*lines[:9], f"and {len(lines) - 9} more"] if len(lines) > 10 else lines)

    def _repr_html_(self) -> str:
        from benchmark.reporting.pages import html_parts
        from benchmark.reporting.tables import significance_parts

        return html_parts(significance_parts(self))


def compare(
    results: str | Path | Sequence[str | Path | BenchResult], against: str | None = None
) -> SignificanceTests:
    """Test methods against one of them, query by query, as `fdrd compare` does.

    Args:
        results: results and result files, which must be comparable; and folders, of which methods without a
            counterpart are left out.
        against: a method, or the full label of a row; by default the reference, as `zero_shot` is, otherwise the
            first row by name. A choice that depends on the results that are tested would be biased.

    Raises:
        FdrdError: there is nothing to compare, or `against` does not name a single row.
    """
    items = [results] if isinstance(results, str | Path) else results
    folders = [each for each in items if isinstance(each, str | Path) and Path(each).is_dir()]
    named = group_results(open_results([each for each in items if each not in folders]))
    if len(named) > 1:
        raise FdrdError(f"these runs cannot be compared: {_mismatch(named[0], named[1])}")
    found = group_results(open_results(items))
    pairs = [comparison for comparison in found if len(comparison.rows) > 1]
    if not pairs:
        reason = _mismatch(found[0], found[1]) if len(found) > 1 else "all are seeds of one method"
        raise FdrdError(
            f"nothing to compare: {reason}; give runs of several methods, measured on the same data"
        )
    single = [comparison for comparison in found if len(comparison.rows) < 2]
    return SignificanceTests([paired_with(comparison, against) for comparison in pairs], single)


def ablation(results: Sequence[BenchResult], full: Mapping[str, Any]) -> SignificanceTests:
    """Test the variants of a method against the full method.

    Args:
        results: results of the variants.
        full: options of the full method; without a result of it nothing is tested.
    """
    labels = {label(r.settings): r.settings.options_given for r in results}
    against = next((row for row, options in labels.items() if options == full), None)
    pairs = [each for each in group_results(results) if len(each.rows) > 1] if against else []
    return SignificanceTests([paired_with(each, against) for each in pairs], [])


def verdict(difference: Difference) -> str:
    """Return the verdict on a method compared with the reference, from the corrected p.

    >>> verdict(Difference(0.02, (0.01, 0.03), 0.001, 0.004))
    'better'
    """
    if difference.holm >= LEVEL:
        return "no difference shown"
    return "better" if difference.value > 0 else "worse"


def left_out(comparison: Comparison) -> str:
    """Return why a comparison of a single method is left out."""
    (row,) = comparison.rows
    return f"{row.label}, the only method measured on {heading(comparison.settings)}"


def paired_with(comparison: Comparison, against: str | None) -> PairedComparison:
    """Test the methods of a comparison against one of them, see `compare`."""
    reference = _reference(comparison, against)
    others = [row for row in comparison.rows if row is not reference]
    return PairedComparison(
        comparison.settings, reference, others, all_intervals(reference, others)
    )


def _reference(comparison: Comparison, against: str | None) -> Row:
    rows = comparison.rows
    if against is None:
        return comparison.reference or rows[0]
    exact = [row for row in rows if row.label == against]
    named = [row for row in rows if against in (row.method, row.results[0].settings.label)]
    same = exact or named
    if len(same) == 1:
        return same[0]
    labels = ", ".join(repr(row.label) for row in same or rows)
    if same:
        raise FdrdError(f"{len(same)} rows are of {against}; give `against` one of {labels}")
    raise FdrdError(
        f"`against` {against}: not measured on {heading(comparison.settings)}; choose from {labels}"
    )


def _mismatch(*comparisons: Comparison) -> str:
    """Return two methods, and how the settings of their measurements differ."""

    def shown(settings: Settings, name: str) -> str:
        value = measured(settings)[name]
        if name == "data":
            return " ".join(filter(None, (settings.data.name, settings.domain, value[:8])))
        if name == "backbone":
            return f"{settings.backbone.name} {value[:8]}"
        if name == "base categories" and settings.categories:
            return f"{settings.categories.name} {value[:8]}"
        return value

    one, other = (each.settings for each in comparisons)
    reasons = [
        f"different {name} ({shown(one, name)}, {shown(other, name)})"
        for name, value in measured(one).items()
        if value != measured(other)[name]
    ]
    labels = " and ".join(each.rows[0].label for each in comparisons)
    return f"{labels} have {' and '.join(reasons)}"
