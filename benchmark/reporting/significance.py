"""Compare methods with one of them by paired significance tests: what `fdrd compare` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group

from benchmark.evaluation.paired_tests import PARTS
from benchmark.reporting.comparison import (
    Comparison,
    PairedComparison,
    group_results,
    heading,
    label,
    measured,
    paired_with,
    verdict,
)
from benchmark.reporting.pages import html_parts, rendered
from benchmark.reporting.tables import (
    PAIRED,
    Table,
    paired_interval_table,
    paired_table,
    pairs_parts,
    sizes_text,
)
from benchmark.result import BenchResult, open_results
from benchmark.settings import Settings
from fdrd.errors import FdrdError


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
            "left_out": self._left_out(),
        }

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with a row per method and direction; MRR and differences are fractions."""
        import pandas

        rows = [
            {
                "name": tests["name"],
                "against": tests["against"],
                "method": row["method"],
                "direction": part,
                **row[part],
            }
            for tests in self.to_json()["comparisons"]
            for row in tests["methods"]
            for part in PARTS
        ]
        return pandas.DataFrame.from_records(rows)

    def parts(self) -> list[Table | str]:
        """Return the tables of the tests, what was measured, natural pairs, and what the tests mean."""
        parts: list[Table | str] = []
        for tested in self.comparisons:
            compared = Comparison(tested.settings, [tested.against, *tested.others])
            parts += [paired_table(tested), *paired_interval_table(tested)]
            parts += [sizes_text(compared), *pairs_parts(compared)]
        return [*parts, PAIRED, *(f"Left out: {each}" for each in self._left_out())]

    def _left_out(self) -> list[str]:
        return [
            f"{each.rows[0].label}, the only method measured on {heading(each.settings)}"
            for each in self.left_out
        ]

    def __repr__(self) -> str:
        lines = []
        for each in self.comparisons:
            lines.append(f"MRR against {each.against.label} on {heading(each.settings)}:")
            for row, parts in zip(each.others, each.differences, strict=True):
                mean = parts["mean"]
                lines.append(f"  {row.label}: {100 * mean.value:+.2f} points, {verdict(mean)}")
        return "\n".join([*lines[:9], f"and {len(lines) - 9} more"] if len(lines) > 10 else lines)

    def _repr_html_(self) -> str:
        return html_parts(self.parts())


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
    """Test the variants of a method against the full method, the one with these options, if it was measured."""
    labels = {label(r.settings): r.settings.options_given for r in results}
    against = next((row for row, options in labels.items() if options == full), None)
    pairs = [each for each in group_results(results) if len(each.rows) > 1] if against else []
    return SignificanceTests([paired_with(each, against) for each in pairs], [])


def significance_table(tests: SignificanceTests) -> Group:
    """Return significance tests for `rich`."""
    return rendered(tests.parts())


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
