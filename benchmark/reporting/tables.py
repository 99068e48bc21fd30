"""The tables and sentences of a report as plain text. Renderers differ only in how they print them.

Printed numbers are percent.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from benchmark.reporting.comparison import (
    LEVEL,
    REFERENCE,
    SHORT,
    Cell,
    Column,
    Comparison,
    Row,
    main_columns,
)
from benchmark.result import DIRECTIONS, Direction, Share
from benchmark.settings import NO_BACKBONE, Settings

BELOW = "▼"
NOT_SIGNIFICANT = "≈"

NEGATIVES = (
    "Hard negatives: the true caption scores above all its negatives; a tie is a loss. The text-only "
    "baseline sees captions alone and learned from those of the training split; its accuracy needs no image."
)

HARMONIC = (
    "Percent. H: harmonic mean of base and new, each the mean over seeds and each with its own gallery. "
    "Only the listed categories were used for training."
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
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    foot: list[list[str]] = field(default_factory=list)
    text_columns: int = 1
    best: frozenset[tuple[int, int]] = frozenset()


def main_table(comparison: Comparison) -> Table:
    """Return recalls and MRR of both directions, R-sum and hard negatives, one row per method."""
    columns = main_columns()
    return Table(
        "",
        ["method", *(column.title for column in columns)],
        [[row.label, *map(number, row.cells)] for row in comparison.rows],
        [["ceiling", *(_ceiling(comparison, column) for column in columns)]],
        best=_best(comparison),
    )


def narrow_table(comparison: Comparison) -> Table:
    """Return the main table with one row per method and direction, for terminals."""
    columns = main_columns()
    both = [column for column in columns if not column.direction]
    lines = {each: [c for c in columns if c.direction == each] for each in DIRECTIONS}
    rows, foot = [], []
    for row in comparison.rows:
        cells = dict(zip((column.title for column in columns), row.cells, strict=True))
        for place, each in enumerate(DIRECTIONS):
            shown = [*lines[each], *([] if place else both)]
            printed = [number(cells[column.title]) for column in shown]
            printed += [""] * (len(both) if place else 0)
            rows.append(["" if place else row.label, SHORT[each], *printed])
    for place, each in enumerate(DIRECTIONS):
        ceilings = [_ceiling(comparison, column) for column in lines[each]]
        foot.append(["" if place else "ceiling", SHORT[each], *ceilings, *([""] * len(both))])
    titles = [c.title.removeprefix("I2T ") for c in (*lines[DIRECTIONS[0]], *both)]
    return Table(heading(comparison.settings), ["method", "", *titles], rows, foot, text_columns=2)


def interval_table(comparison: Comparison) -> Table:
    """Return confidence intervals by seed."""
    rows = []
    for row in comparison.rows:
        for result in row.results:
            cells = [
                _interval(result.metrics.direction(each).interval[name])
                for each in DIRECTIONS
                for name in ("R@1", "mrr")
            ]
            seed = "" if result.settings.seed is None else str(result.settings.seed)
            rows.append([row.label, seed, *cells])
    head = [f"{SHORT[each]} {name}" for each in DIRECTIONS for name in ("R@1", "MRR")]
    title = "95 % bootstrap intervals over images, by seed:"
    return Table(title, ["method", "seed", *head], rows)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def rank_table(comparison: Comparison) -> Table:
    """Return rank statistics, and retrieval of the right category."""
    numbers: dict[str, Callable[[list[Direction]], str]] = {
        "R@1, equal captions relevant": lambda s: percent([one.caption.recall["R@1"] for one in s]),
        "median rank": lambda s: f"{fmean(one.strict.median_rank for one in s):.1f}",
        "mean rank": lambda s: f"{fmean(one.strict.mean_rank for one in s):.1f}",
        "category R@1": lambda s: percent(_known(one.category_recall_1 for one in s)),
        "mAP": lambda s: percent(_known(one.category_map for one in s)),
    }
    rows = []
    for row in comparison.rows:
        sides = [[r.metrics.direction(each) for r in row.results] for each in DIRECTIONS]
        rows.append([row.label, *(print_(side) for side in sides for print_ in numbers.values())])
    head = [f"{SHORT[each]} {name}" for each in DIRECTIONS for name in numbers]
    return Table("Ranks and categories, means over seeds:", ["method", *head], rows)


def negatives_table(comparison: Comparison) -> Table | None:
    """Return the accuracy on hard negatives by kind and attribute type; None if there are none."""
    shares = _shares(comparison)
    if not shares:
        return None
    rows = [
        [row.label, *(percent(_accuracies(row, kind)) for kind in shares)]
        for row in comparison.rows
    ]
    text_only = [percent([s.blind] if s.blind is not None else []) for s in shares.values()]
    foot = [
        ["text-only baseline", *text_only],
        ["guessing", *(percent([share.chance]) for share in shares.values())],
        ["rows", *(str(share.rows) for share in shares.values())],
    ]
    return Table(NEGATIVES, ["method", *shares], rows, foot)


def transposed(table: Table) -> Table:
    """Return a table with one row per column, so that many columns fit a terminal."""
    columns = [*table.rows, *table.foot]
    rows = [
        [name, *(column[place] for column in columns)]
        for place, name in enumerate(table.head)
        if place
    ]
    return Table("", ["hard negatives", *(name for name, *_ in columns)], rows)


def domain_table(comparison: Comparison) -> Table | None:
    """Return R@1 by domain; None if there is only one."""
    domains = sorted(comparison.rows[0].results[0].metrics.by_domain)
    if len(domains) < 2:
        return None

    def cell(row: Row, name: str) -> str:
        sides = [r.metrics.by_domain[name] for r in row.results]
        return " / ".join(percent([s[each].recall["R@1"] for s in sides]) for each in DIRECTIONS)

    rows = [[row.label, *(cell(row, name) for name in domains)] for row in comparison.rows]
    return Table("R@1 by domain, I2T / T2I:", ["method", *domains], rows)


def category_table(comparison: Comparison) -> Table | None:
    """Return the MRR of each category, the mean of both directions; None without categories."""
    rows = []
    names = sorted(comparison.rows[0].results[0].metrics.by_category)
    if not names:
        return None
    for name in names:
        of_category = [
            [r.metrics.by_category[name] for r in row.results] for row in comparison.rows
        ]
        means = [[fmean(s[d].mrr for d in DIRECTIONS) for s in each] for each in of_category]
        images = of_category[0][0]["image_to_text"].queries
        rows.append([name, str(images), *map(percent, means)])
    head = ["category", "images", *(row.label for row in comparison.rows)]
    return Table("MRR by category, mean of both directions:", head, rows)


def settings_table(comparison: Comparison) -> Table:
    """Return options, seeds, sizes and times."""
    rows = []
    for row in comparison.rows:
        first = row.results[0]
        train = vars(first.settings.train) if first.settings.train else {}
        options = [f"{k}={v}" for part in (first.settings.options, train) for k, v in part.items()]
        best = [str(r.fit.best_epoch) for r in row.results if r.fit is not None]
        seeds = [str(r.settings.seed) for r in row.results if r.settings.seed is not None]
        seconds = fmean(sum(r.seconds.values()) for r in row.results)
        lists = [", ".join(each) or "–" for each in (options, seeds, best)]
        size = f"{first.learned_parameters:,}"
        rows.append([row.label, lists[0], lists[1], size, lists[2], f"{seconds:.1f}"])
    head = ["method", "settings", "seeds", "learned parameters", "best epoch", "seconds"]
    return Table("Settings, defaults included:", head, rows)


def halves_table(base: Comparison, new: Comparison) -> Table:
    """Return base-to-new results of methods measured on both halves; one row per direction."""
    titles = [column.title for column in main_columns()]
    of_new = {row.label: dict(zip(titles, row.cells, strict=True)) for row in new.rows}
    rows = []
    for row in base.rows:
        of_base = dict(zip(titles, row.cells, strict=True))
        for each in DIRECTIONS if row.label in of_new else ():
            printed = [row.label, SHORT[each]]
            for name in ("R@1", "MRR"):
                title = f"{SHORT[each]} {name}"
                one, other = of_base[title], of_new[row.label][title]
                if one is not None and other is not None:
                    means = (one.mean, other.mean, harmonic(one.mean, other.mean))
                    printed += [f"{100 * mean:.2f}" for mean in means]
            rows.append(printed)
    head = [f"{name} {part}" for name in ("R@1", "MRR") for part in ("base", "new", "H")]
    title = f"{heading(base.settings)} to new"
    return Table(title, ["method", "", *head], rows, text_columns=2)


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
    words = ["fdrd", "bench", "--method", settings.method, "--split", settings.split]
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
    if settings.checkpoint is None:
        for flag, given in (("-M", settings.options_given), ("-T", settings.train_given)):
            words += [w for name in sorted(given) for w in (flag, f"{name}={given[name]}")]
    return shlex.join(words)


def commands(comparison: Comparison) -> list[str]:
    """Return the commands that repeat all runs of a comparison, each once."""
    return list(dict.fromkeys(command(r.settings) for row in comparison.rows for r in row.results))


def heading(settings: Settings) -> str:
    """Return what was measured, on one line."""
    domain = f", {settings.domain}" if settings.domain else ""
    backbone = "" if settings.backbone == NO_BACKBONE else f", {settings.backbone.name}"
    half = (
        f", {settings.half} categories of {settings.categories.name}" if settings.categories else ""
    )
    return f"{settings.data.name}, {settings.split}{domain}{backbone}{half}"


def gallery_text(settings: Settings) -> str:
    """Return which items compete, and how recall is defined."""
    where = {
        "domain": "One gallery per domain; with several domains, the unweighted mean over them.",
        "joint": "One gallery for all domains.",
    }
    sized = f"Galleries of {settings.gallery} images of one domain; queries are pooled."
    return (
        f"{where.get(str(settings.gallery), sized)} R@K is the share of queries with a relevant item "
        f"among the first K. Relevant are the rows of the same image. A tie with an irrelevant item "
        f"counts against the method."
    )


def legend(comparison: Comparison) -> str:
    """Return the meaning of the signs in the main table, and the remarks of its methods."""
    cells = [cell for row in comparison.rows for cell in row.cells if cell]
    text = "Percent."
    if any(cell.deviation is not None for cell in cells):
        text += " Mean ± standard deviation over seeds."
    if any(row.label == REFERENCE for row in comparison.rows):
        text += f" {BELOW} below zero-shot."
    if any(cell.not_significant for cell in cells):
        text += (
            f" {NOT_SIGNIFICANT} MRR not significantly different from zero-shot (paired randomization "
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


def number(cell: Cell | None) -> str:
    """Return a number of the main table with its signs."""
    if cell is None:
        return "–"
    signs = BELOW * cell.below + NOT_SIGNIFICANT * cell.not_significant
    deviation = "" if cell.deviation is None else f" ±{100 * cell.deviation:.2f}"
    return f"{100 * cell.mean:.2f}{signs}{deviation}"


def percent(values: Sequence[float]) -> str:
    """Return the mean of fractions in percent; a dash if there are none."""
    return f"{100 * fmean(values):.2f}" if values else "–"


def _interval(interval: tuple[float, float]) -> str:
    return "[{:.2f}, {:.2f}]".format(*(100 * end for end in interval))


def _ceiling(comparison: Comparison, column: Column) -> str:
    """Return the number of a perfect method; empty if it is not known."""
    name = column.title.rpartition(" ")[2]
    if not column.direction or name == "MRR":
        return ""
    metrics = comparison.rows[0].results[0].metrics
    return f"{100 * metrics.direction(column.direction).ceiling[name]:.2f}"


def _best(comparison: Comparison) -> frozenset[tuple[int, int]]:
    """Return the cells with the highest number of each column, if there are two methods or more."""
    found = set()
    for column in range(len(main_columns())):
        cells = [(row.cells[column], place) for place, row in enumerate(comparison.rows)]
        means = [(cell.mean, place) for cell, place in cells if cell is not None]
        highest = max((mean for mean, _ in means), default=0.0)
        found |= {(place, column + 1) for mean, place in means if mean == highest}
    return frozenset(found) if len(comparison.rows) > 1 else frozenset()


def _shares(comparison: Comparison) -> dict[str, Share]:
    """Return by kind what all methods have in common: rows, chance, text-only accuracy.

    If training rows changed between runs, their baselines may disagree. Then none is shown.
    """
    every = [result.metrics.hard_negatives for row in comparison.rows for result in row.results]
    return {
        kind: share
        if len({each[kind].blind for each in every}) == 1
        else replace(share, blind=None)
        for kind, share in sorted(every[0].items())
    }


def _accuracies(row: Row, kind: str) -> list[float]:
    shares = [result.metrics.hard_negatives.get(kind) for result in row.results]
    return [share.accuracy for share in shares if share]
