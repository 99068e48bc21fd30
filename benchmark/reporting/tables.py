"""The tables and sentences of a report as plain text. Renderers differ only in how they print them.

Printed numbers are percent.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from benchmark.evaluation.paired_tests import PARTS
from benchmark.rank_metrics import BOTH, METRICS
from benchmark.reporting.comparison import (
    LEVEL,
    Cell,
    Comparison,
    Row,
    across_domains,
    base_to_new,
    heading,
)
from benchmark.reporting.significance import PairedComparison, SignificanceTests, left_out, verdict
from benchmark.result import DIRECTIONS, Share
from benchmark.retrieval_metrics import SHORT, Column, columns, main_columns
from benchmark.settings import NO_BACKBONE, Settings

BELOW = "▼"
NOT_SIGNIFICANT = "≈"

NEGATIVES = (
    "Hard negatives: the true caption scores above all its negatives; a tie is a loss. The text-only "
    "baseline sees captions only and learned from those of the training split; its accuracy needs no image."
)

HARMONIC = (
    "Percent. H: harmonic mean of base and new, each the mean over seeds and each with its own gallery. "
    "Only the listed categories were used for training."
)

_HALVES = ("R@1", "MRR")
"""Metrics of the table of base and new categories."""

PAIRED = (
    "Percent; means over seeds. Two-sided paired randomization test over images; Holm correction over "
    f"the methods, separately for each direction; a verdict needs a corrected p below {LEVEL}."
)


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
        spare: headings of columns that a narrow terminal leaves out, the first one first.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    foot: list[list[str]] = field(default_factory=list)
    text_columns: int = 1
    best: frozenset[tuple[int, int]] = frozenset()
    spare: tuple[str, ...] = ()


def main_table(comparison: Comparison) -> Table:
    """Return the main metrics of both directions, one row per method, and ceilings."""
    shown, rows = main_columns(), comparison.rows
    best = set()
    for index, column in enumerate(shown, 1):
        means = {n: mean for n, row in enumerate(rows) if (mean := row.mean(column)) is not None}
        top = (max if column.better == "higher" else min)(means.values(), default=0.0)
        best |= {(n, index) for n, mean in means.items() if mean == top and top > 0}
    ceilings = {
        (each.direction, each.name.removeprefix("ceiling ")): each.text(rows[0].mean(each))
        for each in columns()
        if each.name.startswith("ceiling ")
    }
    return Table(
        "",
        ["method", *(column.title for column in shown)],
        [
            [row.label, *map(_number, cells, shown)]
            for row, cells in zip(rows, comparison.cells, strict=True)
        ],
        [["ceiling", *(ceilings.get((each.direction, each.name), "") for each in shown)]],
        best=frozenset(best) if len(rows) > 1 else frozenset(),
    )


def narrow_table(comparison: Comparison) -> Table:
    """Return the main table with one row per method and direction, for terminals."""
    wide, shown = main_table(comparison), main_columns()
    names = list(dict.fromkeys((each.direction == BOTH, each.name) for each in shown))

    def two_rows(label: str, cells: Sequence[str]) -> list[list[str]]:
        found = {(each.direction, each.name): cell for each, cell in zip(shown, cells, strict=True)}
        return [
            [
                label if way == DIRECTIONS[0] else "",
                SHORT[way],
                *(
                    # Numbers of both directions are in the first row.
                    (found[BOTH, name] if way == DIRECTIONS[0] else "")
                    if of_both
                    else found[way, name]
                    for of_both, name in names
                ),
            ]
            for way in DIRECTIONS
        ]

    return Table(
        heading(comparison.settings),
        ["method", "", *(name for _, name in names)],
        [half for label, *cells in wide.rows for half in two_rows(label, cells)],
        [half for label, *cells in wide.foot for half in two_rows(label, cells)],
        text_columns=2,
    )


def summary(
    comparisons: Sequence[Comparison], parts_of: Callable[[Comparison], list[Table | str]]
) -> list[Table | str]:
    """Return the parts of each comparison, then means over domains, and base-to-new results."""
    parts = [part for comparison in comparisons for part in parts_of(comparison)]
    parts += [mean_table(group) for group in across_domains(comparisons)]
    for base, new in base_to_new(comparisons):
        parts += [halves_table(base, new), HARMONIC]
    return parts


def mean_table(domains: Sequence[Comparison]) -> Table:
    """Return the plain means over domains, for the rows that all of them have."""
    by_label = [{row.label: row for row in domain.rows} for domain in domains]
    shown = [column for column in main_columns() if column.direction != BOTH]
    rows = [
        [label, *(_mean_text([rows[label] for rows in by_label], column) for column in shown)]
        for label in by_label[0]
        if all(label in rows for rows in by_label)
    ]
    names = ", ".join(sorted(str(domain.settings.domain) for domain in domains))
    return Table(f"Mean over the domains {names}", ["method", *(c.title for c in shown)], rows)


def _mean_text(rows: Sequence[Row], column: Column) -> str:
    """Return the mean of a column over rows; a dash if one of them lacks it."""
    means = [mean for row in rows if (mean := row.mean(column)) is not None]
    return column.text(fmean(means) if len(means) == len(rows) else None)


def interval_table(comparison: Comparison) -> Table:
    """Return the confidence intervals of the main metrics by seed."""
    results = [(row.label, result) for row in comparison.rows for result in row.results]
    shown = [
        each
        for each in main_columns()
        if any(each.interval(result.metrics) for _, result in results)
    ]
    rows = []
    for label, result in results:
        found = [each.interval(result.metrics) for each in shown]
        seed = "" if result.settings.seed is None else str(result.settings.seed)
        rows.append([label, seed, *(_ends(each, ".2f") if each else "–" for each in found)])
    title = "95 % intervals over images, by seed:"
    return Table(title, ["method", "seed", *(each.title for each in shown)], rows)


def further_table(comparison: Comparison) -> Table:
    """Return the metrics that the main table lacks, one row per metric and direction."""
    order = {name: index for index, name in enumerate(METRICS)}
    shown = sorted(
        (each for each in columns() if not each.main),
        key=lambda column: order.get(column.name, len(order)),
    )
    before = ["", *(each.meaning for each in shown)]
    rows = [
        [
            each.name,
            SHORT.get(each.direction, each.direction),
            *(each.text(row.mean(each)) for row in comparison.rows),
            each.meaning if each.meaning != above else "",
        ]
        for each, above in zip(shown, before, strict=False)
    ]
    head = ["metric", "", *(row.label for row in comparison.rows), "meaning, for a query"]
    return Table("Further metrics, means over seeds:", head, rows, text_columns=2)


def negatives_table(comparison: Comparison) -> Table | None:
    """Return the accuracy on hard negatives by kind and attribute type; None if there are none.

    If training rows changed between runs, their text-only baselines may disagree. Then none is shown.
    """
    by_row = [[r.metrics.hard_negatives for r in row.results] for row in comparison.rows]
    every = [shares for row in by_row for shares in row]
    kinds = sorted({kind for shares in every for kind in shares})
    if not kinds:
        return None

    def accuracy(shares: Iterable[Share | None]) -> str:
        return percent(share.accuracy if share else None for share in shares)

    rows = [
        [row.label, *(accuracy(each.get(kind) for each in seeds) for kind in kinds)]
        for row, seeds in zip(comparison.rows, by_row, strict=True)
    ]
    known = [[shares[kind] for shares in every if kind in shares] for kind in kinds]
    common = [shares[0] for shares in known]
    agreed = [len({share.text_only for share in shares}) == 1 for shares in known]
    text_only = [
        share.text_only if same else None for share, same in zip(common, agreed, strict=True)
    ]
    foot = [
        ["text-only baseline", *(percent([fraction]) for fraction in text_only)],
        ["guessing", *(percent([share.chance]) for share in common)],
        ["rows", *(str(share.rows) for share in common)],
    ]
    return Table(NEGATIVES, ["method", *kinds], rows, foot)


def transposed(table: Table) -> Table:
    """Return a table with one row per column, so that many columns fit a terminal."""
    head, *rows = map(list, zip(table.head, *table.rows, *table.foot, strict=True))
    return Table("", ["hard negatives", *head[1:]], rows)


def domain_table(comparison: Comparison) -> Table | None:
    """Return R@1 by domain; None if there is only one."""
    domains = sorted(comparison.rows[0].results[0].metrics.by_domain)
    if len(domains) < 2:
        return None

    def cell(row: Row, name: str) -> str:
        sides = [s for r in row.results if (s := r.metrics.by_domain.get(name))]
        return " / ".join(percent(s[each]["R@1"] for s in sides) for each in DIRECTIONS)

    rows = [[row.label, *(cell(row, name) for name in domains)] for row in comparison.rows]
    return Table("R@1 by domain, I2T / T2I:", ["method", *domains], rows)


def category_table(comparison: Comparison) -> Table | None:
    """Return the MRR of each category, the mean of both directions; None without categories."""
    first = comparison.rows[0].results[0].metrics.by_category
    if not first:
        return None

    def cell(row: Row, name: str) -> str:
        found = (r.metrics.by_category.get(name) for r in row.results)
        return percent(fmean(s[each]["MRR"] for each in DIRECTIONS) for s in found if s)

    rows = [
        [name, str(sides["image_to_text"].queries), *(cell(row, name) for row in comparison.rows)]
        for name, sides in sorted(first.items())
    ]
    head = ["category", "images", *(row.label for row in comparison.rows)]
    return Table("MRR by category, mean of both directions:", head, rows)


def settings_table(comparison: Comparison) -> Table:
    """Return options, seeds, sizes and times."""
    rows = []
    for row in comparison.rows:
        settings = row.results[0].settings
        train = vars(settings.train) if settings.train else {}
        options = [f"{k}={v}" for part in (settings.options, train) for k, v in part.items()]
        seeds = [str(r.settings.seed) for r in row.results if r.settings.seed is not None]
        rows.append([row.label, *(", ".join(each) or "–" for each in (options, seeds))])
    return Table("Settings, defaults included:", ["method", "settings", "seeds"], rows)


def cost_table(comparison: Comparison) -> Table:
    """Return what was trained, for how long, and the time and memory of it."""
    rows = []
    for row in comparison.rows:
        fits = [r.fit for r in row.results if r.fit is not None and r.fit.epochs]
        taken = [f"{each.steps:,}" if each.steps else "–" for each in fits]
        best = [f"{each.best_step:,}" if each.steps else "–" for each in fits]
        peaks = [r.peak_megabytes for r in row.results if r.peak_megabytes]
        tuning = row.results[0].tuning
        rows.append(
            [
                row.label,
                f"{row.results[0].learned_parameters:,}",
                *(", ".join(each) or "–" for each in (taken, best)),
                f"{fmean(sum(r.seconds.values()) for r in row.results):.1f}",
                f"{max(peaks):,.0f}" if peaks else "–",
                f"{tuning.steps:,} in {tuning.trials}" if tuning else "–",
            ]
        )
    head = ["method", "learned parameters", "optimizer steps", "best step", "seconds", "peak MB"]
    head += ["tuning steps in trials"]
    return Table("Cost of training and measuring, by seed or as a mean:", head, rows)


def halves_table(base: Comparison, new: Comparison) -> Table:
    """Return base-to-new results of methods measured on both halves; one row per direction."""
    by_label = {row.label: row for row in new.rows}
    rows = []
    for row in base.rows:
        for each in DIRECTIONS if row.label in by_label else ():
            printed = [row.label, SHORT[each]]
            for name in _HALVES:
                one, other = (
                    fmean(r.metrics.by_direction[each][name] for r in half.results)
                    for half in (row, by_label[row.label])
                )
                printed += [f"{100 * n:.2f}" for n in (one, other, harmonic(one, other))]
            rows.append(printed)
    head = [f"{name} {part}" for name in _HALVES for part in ("base", "new", "H")]
    title = f"{heading(base.settings)} to new"
    return Table(title, ["method", "", *head], rows, text_columns=2)


def paired_table(tested: PairedComparison) -> Table:
    """Return significance tests: three rows per method, both directions and their mean."""
    rows = []
    for row, differences in zip(tested.others, tested.differences, strict=True):
        for part in PARTS:
            found = differences[part]
            rows.append(
                [
                    "" if part != PARTS[0] else row.label,
                    SHORT.get(part, part),
                    f"{100 * row.mrr(part):.2f}",
                    f"{100 * tested.against.mrr(part):.2f}",
                    f"{100 * found.value:+.2f}",
                    _ends(found.interval, "+.2f"),
                    *("< 0.0001" if p < 0.0001 else f"{p:.4f}" for p in (found.p, found.holm)),
                    verdict(found),
                ]
            )
    head = ["method", "", "MRR", "against", "difference", "95 % interval", "p", "Holm p", "verdict"]
    title = f"{heading(tested.settings)}: MRR against {tested.against.label}"
    return Table(title, head, rows, text_columns=2, spare=("p", "against", "95 % interval"))


def significance_parts(tests: SignificanceTests) -> list[Table | str]:
    """Return the tables of significance tests, and what they mean."""
    parts: list[Table | str] = []
    for tested in tests.comparisons:
        parts += [paired_table(tested), *filter(None, [paired_interval_table(tested)])]
    return [*parts, PAIRED, *(f"Left out: {left_out(each)}" for each in tests.left_out)]


def paired_interval_table(tested: PairedComparison) -> Table | None:
    """Return intervals of the mean of both directions over images, seeds and categories; None if only images."""
    rows = []
    for row, parts in zip(tested.others, tested.differences, strict=True):
        found = parts["mean"]
        cells = [found.interval, found.over_seeds, found.over_categories]
        shown = [_ends(each, "+.2f") if each else "–" for each in cells]
        rows.append([row.label, f"{100 * found.value:+.2f}", *shown])
    if all(cell == "–" for row in rows for cell in row[3:]):
        return None
    head = ["method", "difference", "over images", "over seeds and images", "over categories"]
    return Table(f"95 % intervals of the mean difference to {tested.against.label}", head, rows)


def harmonic(base: float, new: float) -> float:
    """Return the harmonic mean, which is high only if both are.

    >>> round(harmonic(0.6, 0.3), 3), harmonic(0.0, 0.5)
    (0.4, 0.0)
    """
    return 2 * base * new / (base + new) if base + new else 0.0


def command(settings: Settings) -> str:
    """Return the command that repeats a run.

    A checkpoint is known by digest only, so its file must be filled in by hand.
    """
    words = ["fdrd", "bench", "--method", settings.method]
    words += ["--preset", "paper"] if "paper" in settings.remarks else ["--split", settings.split]
    options = {
        "--data": settings.data.name,
        "--backbone": settings.backbone.name if settings.backbone != NO_BACKBONE else None,
        "--domain": settings.domain,
        "--train-domain": settings.train_domain,
        "--categories": settings.categories.name if settings.categories else None,
        "--shots": settings.shots,
        "--seed": settings.seed,
        "--gallery": settings.gallery if settings.gallery != "domain" else None,
        "--checkpoint": f"sha256:{settings.checkpoint}" if settings.checkpoint else None,
    }
    for flag, value in options.items():
        words += [flag, str(value)] if value is not None else []
    words += [] if settings.hard_negatives else ["--no-hard-negatives"]
    if settings.checkpoint is None:
        for flag, values in (("-M", settings.options_given), ("-T", settings.train_given)):
            words += [w for name in sorted(values) for w in (flag, f"{name}={values[name]}")]
    return shlex.join(words)


def commands(comparison: Comparison) -> list[str]:
    """Return the commands that repeat all runs of a comparison, each once."""
    return list(dict.fromkeys(command(r.settings) for row in comparison.rows for r in row.results))


def gallery_text(settings: Settings) -> str:
    """Return which items compete, and how recall is defined."""
    where = {
        "domain": "One gallery per domain; with several domains, the unweighted mean over them.",
        "joint": "One gallery for all domains.",
    }
    sized = f"Galleries of {settings.gallery} images of one domain; queries are pooled."
    return (
        f"{where.get(str(settings.gallery), sized)} R@K is the share of queries with a relevant item "
        f"among the first K. An item is relevant if it belongs to the same image. A tie with an irrelevant item "
        f"counts against the method."
    )


def legend(comparison: Comparison) -> str:
    """Return the meaning of the signs in the main table, and the remarks of its methods."""
    cells = [cell for row in comparison.cells for cell in row if cell]
    text = "Percent."
    if any(cell.deviation is not None for cell in cells):
        text += " Mean ± standard deviation over seeds."
    reference = comparison.reference
    if reference is not None:
        text += f" {BELOW} worse than {reference.label}."
    if reference is not None and any(cell.not_significant for cell in cells):
        text += (
            f" {NOT_SIGNIFICANT} MRR not significantly different from {reference.label} (paired randomization "
            f"test over images, Holm correction over methods, p ≥ {LEVEL})."
        )
    text += " Ceiling: a perfect method, given that images share captions."
    results = [result for row in comparison.rows for result in row.results]
    remarks = {tag: remark for each in results for tag, remark in each.settings.remarks.items()}
    return " ".join([text, *(f"[{tag}]: {remark}" for tag, remark in sorted(remarks.items()))])


def versions(comparison: Comparison) -> str:
    """Return the data, the backbone and the package versions of the numbers."""
    settings = comparison.settings
    packages = {f"{k} {v}" for row in comparison.rows for k, v in row.results[0].versions.items()}
    return (
        f"Data {settings.data.fingerprint[:16]}, backbone {settings.backbone.fingerprint[:16]}, "
        f"{', '.join(sorted(packages))}."
    )


def percent(values: Iterable[float | None]) -> str:
    """Return the mean of the known fractions in percent; a dash if there are none."""
    known = [value for value in values if value is not None]
    return f"{100 * fmean(known):.2f}" if known else "–"


def _number(cell: Cell | None, column: Column) -> str:
    """Return a number of the main table with its signs."""
    if cell is None:
        return column.text(None)
    signs = BELOW * cell.worse + NOT_SIGNIFICANT * cell.not_significant
    deviation = "" if cell.deviation is None else f" ±{column.text(cell.deviation)}"
    return f"{column.text(cell.mean)}{signs}{deviation}"


def _ends(interval: Sequence[float], form: str) -> str:
    return f"[{', '.join(f'{100 * end:{form}}' for end in interval)}]"
