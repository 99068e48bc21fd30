"""Results of several methods and seeds, as `benchmark.evaluate` returns them, and paired significance tests of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from statistics import fmean
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
from benchmark.reporting.pages import html_parts, rendered, report, to_pandas
from benchmark.reporting.plots import Plot, inline_svg, named_plots, write_plots
from benchmark.reporting.tables import (
    PAIRED,
    Table,
    main_parts,
    paired_interval_table,
    paired_table,
    pairs_parts,
    sizes_text,
)
from benchmark.result import BenchResult, open_results
from benchmark.settings import Settings
from fdrd.errors import FdrdError
from fdrd.options import unknown
from fdrd.text.markup import visible


@dataclass(frozen=True, repr=False)
class MethodResults(Sequence[BenchResult]):
    """Results of one method with its options: one per seed, split, domain and half.

    Attributes:
        name: method, with the options that were given if several rows are of it.
        results: the results.
        folder: folder of result files and checkpoints; None if nothing was written.
    """

    name: str
    results: tuple[BenchResult, ...]
    folder: Path | None = None

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank (a fraction), the mean of both directions and of all results."""
        return fmean(each.mrr for each in self.results)

    @property
    def method(self) -> str:
        """Registered name of the method."""
        return self.results[0].method

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return self.results[0].settings.backbone.name

    @property
    def learns(self) -> bool:
        """Whether the method has a checkpoint."""
        return self.results[0].learned is not None

    @property
    def checkpoint(self) -> Path:
        """File of what the method learned with the first seed.

        Raises:
            FdrdError: it learns nothing, or nothing was written.
        """
        if not self.learns:
            raise FdrdError(f"{self.method} learns nothing, so it has no checkpoint")
        if self.folder is None:
            raise FdrdError(f"the checkpoint of {self.name} was not saved; give `results` a folder")
        return self.folder / Path(self.results[0].settings.file_name()).with_suffix(".safetensors")

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with a row per result."""
        return to_pandas(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        return f"{visible(self.name)}: MRR {100 * self.mrr:.2f} %, {_counted(len(self), 'result')}"

    def _repr_html_(self) -> str:
        return html_parts(main_parts(self.results, tests=True))


@dataclass(frozen=True, repr=False)
class Results(Mapping[str, MethodResults]):
    """Results by method.

    `results["coop"]` has the results of a method, `results["coop (n_ctx=4)"]` those with these options.

    Attributes:
        results: all results.
        failed: the error of each method that failed.
        folder: folder of result files and checkpoints; None if nothing was written.
    """

    results: list[BenchResult] = field(default_factory=list)
    failed: dict[str, FdrdError] = field(default_factory=dict)
    folder: Path | None = None

    def compare(self, against: str | None = None) -> SignificanceTests:
        """Test methods against one of them, query by query.

        Args:
            against: a method, or the name of a row; by default the reference, as `zero_shot` is.

        Raises:
            FdrdError: there is nothing to compare, or no such method.
        """
        return compare(self.results, against)

    def plot(self) -> Plots:
        """Return plots of the results, which a notebook shows."""
        return Plots(named_plots(self.results))

    def report(self, html: str | Path | None = None) -> str | Path:
        """Return the report as Markdown, or write it as an HTML file and return its path."""
        text = report(self.results, html=html)
        return text if html is None else Path(html)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with a row per result."""
        return to_pandas(self.results)

    def __getitem__(self, name: str) -> MethodResults:
        """Return the results of a method, by its name or that of its row.

        Raises:
            KeyError: there are none, or several rows of the method.
        """
        rows = self._rows()
        of_method = [row for row, runs in rows.items() if runs[0].method == name]
        found = [name] if name in rows else of_method
        if len(found) > 1:
            raise KeyError(f"{len(found)} rows are of {name}: {', '.join(found)}")
        if not found:
            raise KeyError(str(self.failed.get(name) or unknown("method", name, rows, "evaluate")))
        return MethodResults(found[0], tuple(rows[found[0]]), self.folder)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def _rows(self) -> dict[str, list[BenchResult]]:
        rows: dict[str, list[BenchResult]] = {}
        for result in self.results:
            rows.setdefault(label(result.settings), []).append(result)
        methods = Counter(runs[0].method for runs in rows.values())
        return {
            runs[0].method if methods[runs[0].method] == 1 else row: runs
            for row, runs in rows.items()
        }

    def __repr__(self) -> str:
        rows = [f"  {row!r}" for row in self.values()]
        rows = [*rows[:6], f"  and {len(rows) - 6} more"] if len(rows) > 7 else rows
        failed = [f"  failed: {visible(', '.join(self.failed))}"] if self.failed else []
        return "\n".join([f"Results of {_counted(len(self), 'method')}:", *rows, *failed])

    def _repr_html_(self) -> str:
        errors = [f"{name} failed: {error}" for name, error in self.failed.items()]
        return html_parts([*main_parts(self.results, tests=True), *errors])


@dataclass(frozen=True, repr=False)
class Plots:
    """Plots by name. Drawing them needs matplotlib, the extra `report`."""

    plots: Mapping[str, Plot]

    def save(self, folder: str | Path) -> list[Path]:
        """Write each plot as SVG, PDF and PNG, and return the paths."""
        return write_plots(self.plots, Path(folder))

    def __repr__(self) -> str:
        return (
            f"Plots({', '.join(self.plots)}); a notebook shows them, and save(folder) writes files"
        )

    def _repr_html_(self) -> str:
        return "".join(
            f"<figure>{inline_svg(plot)}<figcaption>{escape(plot.title)}</figcaption></figure>"
            for plot in self.plots.values()
        )


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


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
