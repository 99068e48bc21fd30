"""The tables and sentences of a report as plain text. Renderers differ only in how they print them.

Columns come from the registry of metrics. Printed numbers are percent.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from statistics import fmean, harmonic_mean, stdev
from typing import Literal

from benchmark.evaluation.paired_tests import PARTS
from benchmark.rank_metrics import (
    BOTH,
    DIRECTIONS,
    METRICS,
    PAIR_METRICS,
    PAIRS,
    SHORT,
    Column,
    Interval,
    Share,
    columns,
    main_columns,
)
from benchmark.reporting.comparison import (
    LEVEL,
    Comparison,
    PairedComparison,
    Row,
    across_domains,
    base_to_new,
    group_results,
    heading,
    paired_with,
    verdict,
)
from benchmark.result import BenchResult
from benchmark.settings import NO_BACKBONE, Settings
from fdrd.record import KINDS

BEST = "*"
BELOW = "▼"
DEFINITIONS = (
    "R@K is the share of queries with a relevant item among the first K. An item is relevant if it belongs to the "
    "same image. A tie with an irrelevant item counts against the method."
)

NEGATIVES = (
    "Hard negatives: the true caption scores above all its negatives; a tie is a loss. The text-only "
    "baseline sees captions only and learned from those of the training split; its accuracy needs no image. "
    "Text-hard: over the rows that it loses or ties. `fdrd view` lists the negatives that fool most methods."
)

NATURAL_PAIRS = (
    "Natural pairs: the caption of each record is false for the image of the other. Text: both images score higher "
    "with their own caption; image: both captions with their own image; group: both. A tie is a loss. "
    "Text alone wins none."
)

HARMONIC = (
    "Percent. H: harmonic mean of base and new, each the mean over seeds and each with its own gallery. "
    "Only the listed categories were used for training."
)

PAIRED = (
    "Percent; means over seeds. Two-sided paired randomization test over images; Holm correction over "
    f"the methods, separately for each direction; a verdict needs a corrected p below {LEVEL}."
)

LEAST = 20
"""Queries of a row; smaller domains, categories and kinds of negatives share one."""

_HALVES = ("R@1", "MRR")
"""Metrics of the table of base and new categories."""


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


def _shown_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of the main tables that were measured: MRR, others of both directions, then each direction."""
    known = (c for c in main_columns() if any(row.mean(c) is not None for row in rows))
    return sorted(known, key=lambda each: (each.direction != BOTH, each.title != "MRR"))


def _heads(shown: Sequence[Column]) -> tuple[list[str], tuple[str, ...]]:
    """Return the headings of columns, and the direction above each."""
    names = [each.name if each.direction in SHORT else each.title for each in shown]
    return names, tuple(SHORT.get(each.direction, "") for each in shown)


def main_table(comparison: Comparison) -> Table:
    """Return the main metrics, one row per method, the best MRR first, and ceilings."""
    rows = comparison.ranked
    shown, digits = _shown_columns(rows), _digits(comparison.queries(DIRECTIONS[0]))
    top = comparison.top if len(rows) > 1 else set()

    def text(row: Row, column: Column) -> str:
        values = row.values(column)
        best = column.title == "MRR" and row.label in top
        signs = BELOW * comparison.worse(row, column) + BEST * best
        spread = f" ±{column.text(stdev(values), digits)}" if len(values) > 1 else ""
        return f"{column.text(row.mean(column), digits)}{signs}{spread}"

    def ceiling(column: Column) -> str:
        name = (column.direction, f"ceiling {column.name}")
        found = (each for each in columns() if (each.direction, each.name) == name)
        return "".join(each.text(rows[0].mean(each), digits) for each in found)

    head, groups = _heads(shown)
    both = groups.count("")  # steps and seeds follow the numbers of both directions

    def line(first: str, cells: Sequence[str], training: Sequence[str] = ("", "", "")) -> list[str]:
        return [first, *cells[:both], *training, *cells[both:]]

    def training(row: Row) -> list[str]:
        seeds = "–" if row.results[0].settings.seed is None else str(len(row.results))
        return [most(row, "steps"), most(row, "pairs"), seeds]

    return Table(
        "",
        line("method", head, ("steps", "pairs seen", "seeds")),
        [line(row.label, [text(row, each) for each in shown], training(row)) for row in rows],
        [line("ceiling", [ceiling(each) for each in shown])],
        best=frozenset((n, c) for n, r in enumerate(rows) if r.label in top for c in (0, 1)),
        groups=tuple(line("", groups)),
    )


def main_parts(results: Sequence[BenchResult], *, tests: bool = False) -> list[Table | str]:
    """Return the main table of each comparison, hard negatives and natural pairs; and the means over domains."""
    comparisons = group_results(results)
    parts: list[Table | str] = []
    for comparison in comparisons:
        parts += [
            replace(main_table(comparison), title=heading(comparison.settings)),
            sizes_text(comparison),
            legend(comparison),
            *(significance(comparison) if tests else ()),
            *negatives_parts(comparison),
            *pairs_parts(comparison),
        ]
    return parts + summary(comparisons)


def significance(comparison: Comparison) -> list[Table | str]:
    """Return the significance tests of a comparison, and what they mean; nothing for a single method."""
    if len(comparison.rows) < 2:
        return []
    return [paired_table(paired_with(comparison, None)), PAIRED]


def summary(comparisons: Sequence[Comparison]) -> list[Table | str]:
    """Return means over domains, and base-to-new results."""
    parts: list[Table | str] = [mean_table(group) for group in across_domains(comparisons)]
    for base, new in base_to_new(comparisons):
        parts += [halves_table(base, new), HARMONIC]
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
    rows = []
    for label, result in results:
        seed = result.settings.seed
        cells = [_ends(column.interval(result.metrics), ".1f") for column in shown]
        rows.append([label, "" if seed is None else str(seed), *cells])
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
    parts: list[Table | str] = [table, NEGATIVES]
    for kind in kinds:
        alone = text_only[kind]
        if alone is not None and alone > max(share.accuracy for share in known[kind]):
            which = "these negatives" if kind == "all" else f"{kind} swaps"
            parts.append(
                f"Text alone reaches {100 * alone:.0f} %: {which} say little about vision."
            )
    return parts


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
        texts = (column.text(cell, _digits(size)) for cell in cells)
        rows.append([column.title, f"{size:,}", *texts])
    labels = [row.label for row in comparison.ranked]
    head = ["metric", "pairs", *labels, "text-only baseline", "guessing"]
    return [Table("Natural pairs", head, rows), NATURAL_PAIRS] if rows else []


def mrr_table(kind: Literal["domain", "category"], comparison: Comparison) -> list[Table]:
    """Return the MRR of each domain or category, the mean of both directions; nothing if there is only one."""

    def mrr(row: Row) -> Callable[[str], float | None]:
        parts = [getattr(result.metrics, f"by_{kind}") for result in row.results]
        return lambda name: _mean(
            fmean(part[name][way]["MRR"] for way in DIRECTIONS) for part in parts if name in part
        )

    first = getattr(comparison.rows[0].results[0].metrics, f"by_{kind}")
    sizes = {name: first[name][DIRECTIONS[0]].queries for name in sorted(first)}
    rows = _breakdown(sizes, {row.label: mrr(row) for row in comparison.ranked})
    head = [kind, "images", *(row.label for row in comparison.ranked)]
    table = Table(f"MRR by {kind}, mean of both directions", head, rows)
    return [table] if len(rows) > 1 else []


def settings_table(comparison: Comparison) -> Table:
    """Return options and seeds."""
    rows = []
    for row in comparison.ranked:
        settings = row.results[0].settings
        train = vars(settings.train) if settings.train else {}
        named = [*settings.options.items(), *train.items()]
        options = ", ".join(f"{name}={value}" for name, value in named)
        seeds = [str(r.settings.seed) for r in row.results if r.settings.seed is not None]
        rows.append([row.label, options or "–", ", ".join(seeds) or "–"])
    return Table("Settings, defaults included", ["method", "settings", "seeds"], rows)


def cost_table(comparison: Comparison) -> Table:
    """Return what was trained, for how long, and the time and memory of it."""
    rows = []
    for row in comparison.ranked:
        fits = [r.fit for r in row.results if r.fit is not None and r.fit.epochs]
        by_seed = [
            ", ".join(f"{getattr(fit, name):,}" if fit.steps else "–" for fit in fits) or "–"
            for name in ("steps", "pairs", "best_step")
        ]
        seconds = fmean(sum(each.seconds.values()) for each in row.results)
        peak = max((each.peak_megabytes or 0 for each in row.results), default=0)
        first = row.results[0]
        tuning = f"{first.tuning.steps:,} in {first.tuning.trials}" if first.tuning else "–"
        cells = [f"{first.learned_parameters:,}", *by_seed, f"{seconds:.1f}"]
        rows.append([row.label, *cells, f"{peak:,.0f}" if peak else "–", tuning])
    trained = ["learned parameters", "optimizer steps", "pairs seen", "best step"]
    head = ["method", *trained, "seconds", "peak MB", "tuning steps in trials"]
    return Table("Cost of training and measuring, by seed or as a mean", head, rows)


def halves_table(base: Comparison, new: Comparison) -> Table:
    """Return base-to-new results of methods measured on both halves; one row per direction."""
    by_label = {row.label: row for row in new.rows}
    digits = _digits(min(each.queries(DIRECTIONS[0]) for each in (base, new)))
    rows = []
    for row in base.rows:
        for way in DIRECTIONS if row.label in by_label else ():
            cells = []
            for name in _HALVES:
                one, other = (
                    fmean(r.metrics.by_direction[way][name] for r in half.results)
                    for half in (row, by_label[row.label])
                )
                both = (one, other, harmonic_mean((one, other)))
                cells += [f"{100 * value:.{digits}f}" for value in both]
            rows.append([row.label, SHORT[way], *cells])
    head = ["method", "", *(["base", "new", "H"] * len(_HALVES))]
    groups = ("", "", *(name for name in _HALVES for _ in range(3)))
    title = f"{heading(base.settings)} to new"
    return Table(title, head, rows, text_columns=2, groups=groups)


def paired_table(tested: PairedComparison) -> Table:
    """Return significance tests, the best MRR first: three rows per method, both directions and their mean."""
    against, rows = tested.against, []
    found = zip(tested.others, tested.differences, strict=True)
    for row, differences in sorted(found, key=lambda each: -each[0].mrr("mean")):
        for part in PARTS:
            tests, name = differences[part], row.label if part == PARTS[0] else ""
            numbers = [f"{100 * row.mrr(part):.1f}", f"{100 * tests.value:+.1f}"]
            p = "< 0.0001" if tests.holm < 0.0001 else f"{tests.holm:.4f}"
            interval = _ends(tests.interval, "+.1f")
            rows.append([name, SHORT.get(part, part), *numbers, interval, p, verdict(tests)])
    head = ["method", "", "MRR", "difference", "95 % interval", "Holm p", "verdict"]
    parts = ", ".join(f"{100 * against.mrr(p):.1f} {SHORT.get(p, p)}" for p in PARTS)
    title = f"{heading(tested.settings)}: MRR against {against.label} ({parts})"
    return Table(title, head, rows, text_columns=2)


def paired_interval_table(tested: PairedComparison) -> list[Table]:
    """Return intervals of the mean of both directions over images, seeds and categories; nothing if only images."""
    means = [parts["mean"] for parts in tested.differences]
    intervals: dict[str, list[Interval | None]] = {
        "over images": [each.interval for each in means],
        "over seeds and images": [each.over_seeds for each in means],
        "over categories": [each.over_categories for each in means],
    }
    known = {name: found for name, found in intervals.items() if any(found)}
    rows = [
        [row.label, f"{100 * mean.value:+.1f}", *(_ends(each, "+.1f") for each in found)]
        for row, mean, *found in zip(tested.others, means, *known.values(), strict=True)
    ]
    title = f"95 % intervals of the mean difference to {tested.against.label}"
    return [Table(title, ["method", "difference", *known], rows)] if len(known) > 1 else []


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


def _ends(interval: Interval | None, form: str) -> str:
    return f"[{', '.join(f'{100 * end:{form}}' for end in interval)}]" if interval else "–"


def most(row: Row, name: Literal["steps", "pairs"]) -> str:
    """Return the optimizer steps of a training, or the pairs in its batches, the most of the seeds; else a dash."""
    count = max((getattr(each.fit, name) for each in row.results if each.fit), default=0)
    return f"{count:,}" if count else "–"


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


def sizes_text(comparison: Comparison) -> str:
    """Return the number of queries, which items compete, and by which training."""
    settings, first = comparison.settings, comparison.rows[0].results[0]
    images, captions = map(comparison.queries, DIRECTIONS)
    sizes = [sides[DIRECTIONS[0]].queries for sides in first.metrics.by_domain.values()]
    if isinstance(settings.gallery, int):
        where = f"galleries of {settings.gallery} images of one domain, queries are pooled"
    elif settings.gallery == "joint" or len(sizes) == 1:
        where = "one gallery of all"
    else:
        where = f"one gallery per domain ({len(sizes)} of {min(sizes):,} to {max(sizes):,} images), mean over them"
    trained = {s for row in comparison.rows if (s := most(row, "steps")) != "–"}
    same = f"; {', '.join(sorted(trained))} training steps" if len(trained) == 1 else ""
    unequal = "; the methods trained for different numbers of steps" if len(trained) > 1 else ""
    seeds = max(len(row.results) for row in comparison.rows)
    counted = f"; {seeds} seeds" if seeds > 1 else ""
    return f"n = {images:,} images, {captions:,} captions; {where}{counted}{same}{unequal}."


def legend(comparison: Comparison) -> str:
    """Return the meaning of the signs in the main table, and the remarks of its methods."""
    cells = [*product(comparison.rows, main_columns())]
    parts = ["Percent."]
    if any(len(row.values(column)) > 1 for row, column in cells):
        parts.append("Mean ± standard deviation over seeds.")
    if len(comparison.rows) > 1:
        parts.append(
            f"{BEST} the best MRR, and every MRR that does not differ significantly from it (paired randomization "
            f"test over images, Holm correction over methods, p ≥ {LEVEL})."
        )
    if comparison.reference and any(comparison.worse(*cell) for cell in cells):
        parts.append(f"{BELOW} worse than {comparison.reference.label}.")
    parts.append("Ceiling: a perfect method, given that images share captions.")
    results = [result for row in comparison.rows for result in row.results]
    remarks = {tag: remark for each in results for tag, remark in each.settings.remarks.items()}
    return " ".join([*parts, *(f"[{tag}]: {remark}" for tag, remark in sorted(remarks.items()))])


def measured_on(results: Sequence[BenchResult]) -> str:
    """Return a sentence with the days of measurement; empty if the files do not say."""
    days = sorted({result.date for result in results if result.date})
    return f"Measured on {' to '.join(dict.fromkeys((days[0], days[-1])))}." if days else ""


def versions(comparison: Comparison) -> str:
    """Return the data, the backbone and the package versions of the numbers."""
    settings = comparison.settings
    packages = {f"{k} {v}" for row in comparison.rows for k, v in row.results[0].versions.items()}
    return (
        f"Data {settings.data.fingerprint[:16]}, backbone {settings.backbone.fingerprint[:16]}, "
        f"{', '.join(sorted(packages))}."
    )
