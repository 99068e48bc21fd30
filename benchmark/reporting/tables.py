"""The tables of a report as plain text. Renderers differ only in how they print them.

Columns come from the registry of metrics. Printed numbers are percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal, TypeVar

from benchmark.evaluation.paired_tests import PARTS
from benchmark.rank_metrics import BOTH, DIRECTIONS, METRICS, PAIR_METRICS, PAIRS, Interval
from benchmark.reporting import sentences
from benchmark.reporting.comparison import (
    Comparison,
    Row,
    across_domains,
    base_to_new,
    group_results,
    heading,
)
from benchmark.reporting.significance import (
    PairedComparison,
    SignificanceTests,
    left_out,
    paired_with,
    verdict,
)
from benchmark.result import BenchResult
from benchmark.retrieval_metrics import SHORT, Column, Share, columns, main_columns
from fdrd.record import KINDS

LEAST = 20
"""Queries of a row; smaller domains, categories and kinds of negatives share one."""

_HALVES = ("R@1", "MRR")
"""Metrics of the table of base and new categories."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: a sentence above it.
        head: column headings.
        rows: one per method.
        foot: rows that are not methods.
        text_columns: number of left-aligned columns.
        best: (row, column) of cells to highlight.
        groups: the heading above each column, empty for none; none at all if no column has one.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    foot: list[list[str]] = field(default_factory=list)
    text_columns: int = 1
    best: frozenset[tuple[int, int]] = frozenset()
    groups: tuple[str, ...] = ()

    @property
    def titles(self) -> list[str]:
        """The headings with those above them, on one line."""
        groups = self.groups or [""] * len(self.head)
        return [f"{group} {name}".strip() for group, name in zip(groups, self.head, strict=True)]


def _table(title: str, items: Iterable[Item], cells: Mapping[str, Callable[[Item], str]]) -> Table:
    """Return a table with a row per item, from a function per column."""
    return Table(title, [*cells], [[cell(item) for cell in cells.values()] for item in items])


def _shown_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of the main tables that were measured: MRR, others of both directions, then each direction."""
    known = (c for c in main_columns() if any(row.mean(c) is not None for row in rows))
    return sorted(known, key=lambda each: (each.direction != BOTH, each.title != "MRR"))


def _heads(shown: Sequence[Column]) -> tuple[list[str], tuple[str, ...]]:
    """Return the headings of columns, and the direction above each."""
    groups = tuple(SHORT.get(column.direction, "") for column in shown)
    return [
        column.title.removeprefix(f"{group} ") for column, group in zip(shown, groups, strict=True)
    ], groups


def main_table(comparison: Comparison) -> Table:
    """Return the main metrics, one row per method, the best MRR first, and ceilings."""
    rows = comparison.ranked
    shown, digits = _shown_columns(rows), _digits(comparison.queries(DIRECTIONS[0]))
    top = comparison.top if len(rows) > 1 else set()

    def number(row: Row, column: Column) -> str:
        cell = comparison.cell(row, column)
        if cell is None:
            return "–"
        signs = sentences.BELOW * cell.worse + sentences.BEST * (
            column.title == "MRR" and row.label in top
        )
        spread = "" if cell.deviation is None else f" ±{column.text(cell.deviation, digits)}"
        return f"{column.text(cell.mean, digits)}{signs}{spread}"

    def ceiling(column: Column) -> str:
        name = (column.direction, f"ceiling {column.name}")
        found = (each for each in columns() if (each.direction, each.name) == name)
        return "".join(each.text(rows[0].mean(each), digits) for each in found)

    head, groups = _heads(shown)
    both = groups.count("")  # steps and seeds follow the numbers of both directions

    def with_training(cells: Sequence[str], *training: str) -> list[str]:
        return [*cells[:both], *training, *cells[both:]]

    return Table(
        "",
        ["method", *with_training(head, "steps", "pairs seen", "seeds")],
        [
            [
                r.label,
                *with_training(
                    [number(r, each) for each in shown],
                    sentences.steps(r),
                    sentences.pairs_seen(r),
                    _seeds(r),
                ),
            ]
            for r in rows
        ],
        [["ceiling", *with_training([ceiling(each) for each in shown], "", "", "")]],
        best=frozenset((n, c) for n, r in enumerate(rows) if r.label in top for c in (0, 1)),
        groups=("", *with_training(groups, "", "", "")),
    )


def _seeds(row: Row) -> str:
    return "–" if row.results[0].settings.seed is None else str(len(row.results))


def main_parts(results: Sequence[BenchResult], *, tests: bool = False) -> list[Table | str]:
    """Return the main table of each comparison, hard negatives and natural pairs; and the means over domains."""

    def parts(comparison: Comparison) -> list[Table | str]:
        return [
            replace(main_table(comparison), title=heading(comparison.settings)),
            sentences.sizes_text(comparison),
            sentences.legend(comparison),
            *(significance(comparison) if tests else ()),
            *negatives_parts(comparison),
            *pairs_parts(comparison),
        ]

    return summary(group_results(results), parts)


def significance(comparison: Comparison) -> list[Table | str]:
    """Return the significance tests of a comparison, and what they mean; nothing for a single method."""
    if len(comparison.rows) < 2:
        return []
    return [paired_table(paired_with(comparison, None)), sentences.PAIRED]


def summary(
    comparisons: Sequence[Comparison], parts_of: Callable[[Comparison], list[Table | str]]
) -> list[Table | str]:
    """Return the parts of each comparison, then means over domains, and base-to-new results."""
    parts = [part for comparison in comparisons for part in parts_of(comparison)]
    parts += [mean_table(group) for group in across_domains(comparisons)]
    for base, new in base_to_new(comparisons):
        parts += [halves_table(base, new), sentences.HARMONIC]
    return parts


def mean_table(domains: Sequence[Comparison]) -> Table:
    """Return the plain means over domains, for the rows that all of them have."""
    by_label = [{row.label: row for row in domain.rows} for domain in domains]
    shown = _shown_columns([row for domain in domains for row in domain.rows])
    digits = _digits(min(each.queries(DIRECTIONS[0]) for each in domains))

    def mean(label: str, column: Column) -> str:
        means = [rows[label].mean(column) for rows in by_label]
        known = [mean for mean in means if mean is not None]
        return column.text(fmean(known) if len(known) == len(means) else None, digits)

    common = [label for label in by_label[0] if all(label in rows for rows in by_label)]
    names = ", ".join(sorted(str(domain.settings.domain) for domain in domains))
    head, groups = _heads(shown)
    rows = [[label, *(mean(label, column) for column in shown)] for label in common]
    title = f"Mean over the domains {names}"
    return Table(title, ["method", *head], rows, groups=("", *groups))


def interval_table(comparison: Comparison) -> Table:
    """Return the confidence intervals of the main metrics by seed."""
    results = [(row.label, result) for row in comparison.ranked for result in row.results]
    shown = _shown_columns(comparison.rows)
    shown = [c for c in shown if any(c.interval(r.metrics) for _, r in results)]
    rows = [
        [
            label,
            "" if result.settings.seed is None else str(result.settings.seed),
            *(
                _ends(found, ".1f") if (found := column.interval(result.metrics)) else "–"
                for column in shown
            ),
        ]
        for label, result in results
    ]
    head, groups = _heads(shown)
    title = "95 % intervals over images, by seed"
    return Table(title, ["method", "seed", *head], rows, groups=("", "", *groups))


def further_table(comparison: Comparison) -> Table:
    """Return the metrics that the main table lacks, one row per metric and direction."""
    order = {name: index for index, name in enumerate(METRICS)}
    digits = _digits(comparison.queries(DIRECTIONS[0]))
    shown = sorted(
        (each for each in columns() if not each.main and each.direction not in PAIRS.values()),
        key=lambda column: order.get(column.name, len(order)),
    )
    before = ["", *(each.meaning for each in shown)]
    rows = [
        [
            each.name,
            SHORT.get(each.direction, each.direction),
            *(each.text(row.mean(each), digits) for row in comparison.ranked),
            each.meaning if each.meaning != above else "",
        ]
        for each, above in zip(shown, before, strict=False)
    ]
    head = ["metric", "", *(row.label for row in comparison.ranked), "meaning, for a query"]
    return Table("Further metrics, means over seeds", head, rows, text_columns=2)


def _grouped(sizes: Mapping[str, int], least: int = LEAST) -> dict[str, list[str]]:
    """Return the names in each row of a breakdown: small ones share the last row.

    >>> _grouped({"wren": 40, "robin": 3, "crow": 19})
    {'wren': ['wren'], '2 with fewer than 20': ['robin', 'crow']}
    """
    small = [name for name, size in sizes.items() if size < least]
    if len(small) < 2:
        return {name: [name] for name in sizes}
    rows = {name: [name] for name in sizes if name not in small}
    return rows | {f"{len(small)} with fewer than {least}": small}


def _breakdown(
    sizes: Mapping[str, int],
    columns: Mapping[str, Callable[[str], float | None]],
    least: int = LEAST,
) -> list[list[str]]:
    """Return rows with a name, the size, and a number per column: the mean over the names, weighted by size."""
    rows = []
    for title, names in _grouped(sizes, least).items():
        size = sum(sizes[name] for name in names)
        cells = []
        for column in columns.values():
            values = [column(name) for name in names]
            total = sum(sizes[name] * (v or 0) for name, v in zip(names, values, strict=True))
            cells.append("–" if None in values else f"{100 * total / size:.{_digits(size)}f}")
        rows.append([title, f"{size:,}", *cells])
    return rows


def negatives_parts(comparison: Comparison) -> list[Table | str]:
    """Return the accuracy on hard negatives by kind and attribute type, and what it means; nothing if there are none.

    If training rows changed between runs, their text-only baselines may disagree. Then none is shown.
    """
    known: dict[str, list[Share]] = {}
    for result in (result for row in comparison.rows for result in row.results):
        for kind, share in sorted(result.metrics.hard_negatives.items()):
            known.setdefault(kind, []).append(share)
    if not known:
        return []
    text_only = {
        kind: shares[0].text_only if len({each.text_only for each in shares}) == 1 else None
        for kind, shares in sorted(known.items())
    }

    def accuracy(row: Row, hard: bool = False) -> Callable[[str], float | None]:
        measured = [result.metrics.hard_negatives for result in row.results]
        return lambda kind: _mean(
            (each[kind].text_hard or 0) if hard else each[kind].accuracy
            for each in measured
            if kind in each
        )

    shown = {row.label: accuracy(row) for row in comparison.ranked}
    shown |= {"text-only baseline": text_only.get, "guessing": lambda kind: known[kind][0].chance}
    text_hard = {row.label: accuracy(row, hard=True) for row in comparison.ranked}
    text_hard |= {"text-only baseline": lambda _: 0.0, "guessing": lambda _: None}
    kinds = {kind: known[kind][0].rows for kind in ("all", *KINDS) if kind in known}
    types = {kind: known[kind][0].rows for kind in text_only if kind not in kinds}
    hard = {
        kind: known[kind][0].text_hard_rows
        for kind in kinds
        if text_only[kind] is not None and known[kind][0].text_hard_rows
    }
    rows = _breakdown(kinds, shown, least=0)
    rows += [[f"{kind}, text-hard", *rest] for kind, *rest in _breakdown(hard, text_hard, least=0)]
    rows += _breakdown(types, shown)
    table = Table("Accuracy on hard negatives", ["kind", "rows", *shown], rows)
    return [table, sentences.NEGATIVES, *_text_alone(known, text_only)]


def _text_alone(
    shares: Mapping[str, Sequence[Share]], text_only: Mapping[str, float | None]
) -> Iterator[str]:
    """Yield a sentence for each kind of negatives on which the text-only baseline is above every method."""
    for kind in ("all", *KINDS):
        alone = text_only.get(kind)
        if alone is not None and alone > max(share.accuracy for share in shares[kind]):
            which = "these negatives" if kind == "all" else f"{kind} swaps"
            yield f"Text alone reaches {100 * alone:.0f} %: {which} say little about vision."


def pairs_parts(comparison: Comparison) -> list[Table | str]:
    """Return the metrics of natural pairs, and what they mean; nothing if there are none."""
    sizes = {
        PAIRS[kind]: len(wins.text)
        for row in comparison.rows
        for result in row.results
        for kind, wins in result.natural_pairs.items()
    }
    rows = []
    for column in (each for each in columns() if each.direction in sizes):
        size = sizes[column.direction]
        cells = [row.mean(column) for row in comparison.ranked]
        cells += [0.0, PAIR_METRICS[column.name].chance]  # text alone wins none
        rows.append(
            [column.title, f"{size:,}", *(column.text(cell, _digits(size)) for cell in cells)]
        )
    labels = [row.label for row in comparison.ranked]
    head = ["metric", "pairs", *labels, "text-only baseline", "guessing"]
    return [Table("Natural pairs", head, rows), sentences.NATURAL_PAIRS] if rows else []


def mrr_table(kind: Literal["domain", "category"], comparison: Comparison) -> Table | None:
    """Return the MRR of each domain or category, the mean of both directions; None if there is only one."""

    def mrr(row: Row) -> Callable[[str], float | None]:
        parts = [getattr(result.metrics, f"by_{kind}") for result in row.results]
        return lambda name: _mean(
            fmean(part[name][way]["MRR"] for way in DIRECTIONS) for part in parts if name in part
        )

    first = getattr(comparison.rows[0].results[0].metrics, f"by_{kind}")
    sizes = {name: first[name][DIRECTIONS[0]].queries for name in sorted(first)}
    rows = _breakdown(sizes, {row.label: mrr(row) for row in comparison.ranked})
    if len(rows) < 2:
        return None
    head = [kind, "images", *(row.label for row in comparison.ranked)]
    return Table(f"MRR by {kind}, mean of both directions", head, rows)


def settings_table(comparison: Comparison) -> Table:
    """Return options and seeds."""

    def options(row: Row) -> str:
        settings = row.results[0].settings
        train = vars(settings.train) if settings.train else {}
        parts = (settings.options, train)
        return ", ".join(f"{k}={v}" for part in parts for k, v in part.items()) or "–"

    def seeds(row: Row) -> str:
        known = [str(r.settings.seed) for r in row.results if r.settings.seed is not None]
        return ", ".join(known) or "–"

    cells = {"method": lambda row: row.label, "settings": options, "seeds": seeds}
    return _table("Settings, defaults included", comparison.ranked, cells)


def cost_table(comparison: Comparison) -> Table:
    """Return what was trained, for how long, and the time and memory of it."""

    def by_seed(name: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            fits = [r.fit for r in row.results if r.fit is not None and r.fit.epochs]
            return ", ".join(f"{getattr(f, name):,}" if f.steps else "–" for f in fits) or "–"

        return cell

    def peak(row: Row) -> str:
        peaks = [r.peak_megabytes for r in row.results if r.peak_megabytes]
        return f"{max(peaks):,.0f}" if peaks else "–"

    def tuning(row: Row) -> str:
        log = row.results[0].tuning
        return f"{log.steps:,} in {log.trials}" if log else "–"

    cells = {
        "method": lambda row: row.label,
        "learned parameters": lambda row: f"{row.results[0].learned_parameters:,}",
        "optimizer steps": by_seed("steps"),
        "pairs seen": by_seed("pairs"),
        "best step": by_seed("best_step"),
        "seconds": lambda row: f"{fmean(sum(r.seconds.values()) for r in row.results):.1f}",
        "peak MB": peak,
        "tuning steps in trials": tuning,
    }
    title = "Cost of training and measuring, by seed or as a mean"
    return _table(title, comparison.ranked, cells)


def halves_table(base: Comparison, new: Comparison) -> Table:
    """Return base-to-new results of methods measured on both halves; one row per direction."""
    by_label = {row.label: row for row in new.rows}
    digits = _digits(min(each.queries(DIRECTIONS[0]) for each in (base, new)))
    rows = []
    for row in base.rows:
        for way in DIRECTIONS if row.label in by_label else ():
            printed = [row.label, SHORT[way]]
            for name in _HALVES:
                one, other = (
                    fmean(r.metrics.by_direction[way][name] for r in half.results)
                    for half in (row, by_label[row.label])
                )
                printed += [f"{100 * n:.{digits}f}" for n in (one, other, harmonic(one, other))]
            rows.append(printed)
    return Table(
        f"{heading(base.settings)} to new",
        ["method", "", *(["base", "new", "H"] * len(_HALVES))],
        rows,
        text_columns=2,
        groups=("", "", *(name for name in _HALVES for _ in range(3))),
    )


def paired_table(tested: PairedComparison) -> Table:
    """Return significance tests, the best MRR first: three rows per method, both directions and their mean."""
    against, rows = tested.against, []
    found = zip(tested.others, tested.differences, strict=True)
    for row, differences in sorted(found, key=lambda each: -each[0].mrr("mean")):
        for part, tests in ((part, differences[part]) for part in PARTS):
            rows.append(
                [
                    row.label if part == PARTS[0] else "",
                    SHORT.get(part, part),
                    f"{100 * row.mrr(part):.1f}",
                    f"{100 * tests.value:+.1f}",
                    _ends(tests.interval, "+.1f"),
                    "< 0.0001" if tests.holm < 0.0001 else f"{tests.holm:.4f}",
                    verdict(tests),
                ]
            )
    head = ["method", "", "MRR", "difference", "95 % interval", "Holm p", "verdict"]
    parts = ", ".join(f"{100 * against.mrr(p):.1f} {SHORT.get(p, p)}" for p in PARTS)
    title = f"{heading(tested.settings)}: MRR against {against.label} ({parts})"
    return Table(title, head, rows, text_columns=2)


def significance_parts(tests: SignificanceTests) -> list[Table | str]:
    """Return the tables of significance tests, what was measured, natural pairs, and what the tests mean."""
    parts: list[Table | str] = []
    for tested in tests.comparisons:
        rows = [tested.against, *tested.others]
        parts += [paired_table(tested), *filter(None, [paired_interval_table(tested)])]
        compared = Comparison(tested.settings, rows)
        parts += [sentences.sizes_text(compared), *pairs_parts(compared)]
    return [*parts, sentences.PAIRED, *(f"Left out: {left_out(each)}" for each in tests.left_out)]


def paired_interval_table(tested: PairedComparison) -> Table | None:
    """Return intervals of the mean of both directions over images, seeds and categories; None if only images."""
    means = [parts["mean"] for parts in tested.differences]
    intervals: dict[str, list[Interval | None]] = {
        "over images": [each.interval for each in means],
        "over seeds and images": [each.over_seeds for each in means],
        "over categories": [each.over_categories for each in means],
    }
    known = {name: found for name, found in intervals.items() if any(found)}
    if len(known) < 2:
        return None
    rows = [
        [
            row.label,
            f"{100 * mean.value:+.1f}",
            *(_ends(each, "+.1f") if each else "–" for each in found),
        ]
        for row, mean, *found in zip(tested.others, means, *known.values(), strict=True)
    ]
    head = ["method", "difference", *known]
    return Table(f"95 % intervals of the mean difference to {tested.against.label}", head, rows)


def harmonic(base: float, new: float) -> float:
    """Return the harmonic mean, which is high only if both are.

    >>> round(harmonic(0.6, 0.3), 3), harmonic(0.0, 0.5)
    (0.4, 0.0)
    """
    return 2 * base * new / (base + new) if base + new else 0.0


def _mean(values: Iterable[float]) -> float | None:
    """Return the mean; None without values."""
    known = [*values]
    return fmean(known) if known else None


def _digits(queries: int) -> int:
    """Return the decimals of a percentage of this many queries: one query must change the last one by less than 10.

    >>> _digits(40), _digits(360), _digits(10_000)
    (0, 1, 2)
    """
    return 0 if queries < 100 else 1 if queries < 10_000 else 2


def _ends(interval: Sequence[float], form: str) -> str:
    return f"[{', '.join(f'{100 * end:{form}}' for end in interval)}]"
