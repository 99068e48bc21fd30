"""Results as tables: `table` for the terminal, `markdown` for a page. Printed numbers are percent."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmark.comparison import (
    LEVEL,
    REFERENCE,
    Cell,
    Column,
    Comparison,
    Row,
    base_to_new,
    compare,
    hard_negatives,
    harmonic,
    percent_columns,
    side,
)
from benchmark.metrics import DIRECTIONS, Share
from benchmark.result import NO_BACKBONE, BenchResult, Settings
from fdrd.markup import escape

BELOW = "▼"
UNSEPARATED = "≈"
SHORT = {"image_to_text": "I2T", "text_to_image": "T2I"}


def table(results: Sequence[BenchResult]) -> RenderableType:
    """The main numbers of each comparison, for a terminal: a line per method and direction."""
    columns = percent_columns()
    lines = {each: [c for c in columns if c.direction == each] for each in DIRECTIONS}
    both = [column for column in columns if not column.direction]
    parts: list[RenderableType] = []
    comparisons = compare(results, columns)
    for comparison in comparisons:
        grid = Table(
            title=Text(heading(comparison.settings)),
            title_justify="left",
            box=SIMPLE,
            pad_edge=False,
        )
        grid.add_column("method", overflow="fold", min_width=12)
        grid.add_column("", no_wrap=True)
        for column in (*lines[DIRECTIONS[0]], *both):
            grid.add_column(column.title.removeprefix("I2T "), justify="right")
        for row in comparison.rows:
            cell = dict(zip((column.title for column in columns), row.cells, strict=True))
            for place, each in enumerate(DIRECTIONS):
                numbers = [*lines[each], *(both if place == 0 else [])]
                printed = [_number(cell[column.title]) for column in numbers]
                grid.add_row(Text("" if place else row.label), SHORT[each], *printed)
        for place, each in enumerate(DIRECTIONS):
            printed = [_ceiling(comparison, column) for column in lines[each]]
            grid.add_row("" if place else "ceiling", SHORT[each], *printed)
        parts += [grid, Text(_legend(comparison)), *_negatives_grid(comparison)]
    for base, new in base_to_new(comparisons):
        head, rows = _halves(base, new)
        title = Text(f"{heading(base.settings)} to new")
        grid = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
        for name in head:
            grid.add_column(name, justify="left" if name in head[:2] else "right")
        for cells in rows:
            grid.add_row(*map(Text, cells))
        parts += [grid, Text(HARMONIC)]
    return Group(*parts)


def markdown(results: Sequence[BenchResult]) -> str:
    """A page with all tables, settings, and the commands that give the same numbers again."""
    parts = ["# Results", ""]
    comparisons = compare(results, percent_columns())
    for comparison in comparisons:
        parts += [
            f"## {escape(heading(comparison.settings))}",
            "",
            _gallery(comparison.settings),
            "",
            *_main(comparison),
            "",
            _legend(comparison),
            "",
            *_intervals(comparison),
            *_more(comparison),
            *_negatives(comparison),
            *_domains(comparison),
            *_settings(comparison),
        ]
    for base, new in base_to_new(comparisons):
        head, rows = _halves(base, new)
        title = f"{heading(base.settings)} to new"
        escaped = [[escape(cell) for cell in row] for row in rows]
        parts += [f"## {escape(title)}", "", *_grid(head, escaped), "", HARMONIC, ""]
    return "\n".join(parts)


def command(settings: Settings) -> str:
    """What to type to get a result again.

    A checkpoint is named by digest alone, so its file must be put in by hand.
    """
    words = ["fdrd", "bench", "--method", settings.method, "--split", settings.split]
    words += ["--data", settings.data.name]
    if settings.backbone != NO_BACKBONE:
        words += ["--backbone", settings.backbone.name]
    if settings.domain is not None:
        words += ["--domain", settings.domain]
    if settings.train_domain is not None:
        words += ["--train-domain", settings.train_domain]
    if settings.categories is not None:
        words += ["--categories", settings.categories.name]
    if settings.shots is not None:
        words += ["--shots", str(settings.shots)]
    if settings.seed is not None:
        words += ["--seed", str(settings.seed)]
    if settings.gallery != "domain":
        words += ["--gallery", str(settings.gallery)]
    if settings.checkpoint is not None:
        return shlex.join([*words, "--checkpoint", f"sha256:{settings.checkpoint}"])
    for flag, given in (("-M", settings.options_given), ("-T", settings.train_given)):
        for name, value in sorted(given.items()):
            words += [flag, f"{name}={value}"]
    return shlex.join(words)


def heading(settings: Settings) -> str:
    """What was measured, in a line."""
    domain = f", {settings.domain}" if settings.domain else ""
    backbone = "" if settings.backbone == NO_BACKBONE else f", {settings.backbone.name}"
    half = (
        f", {settings.half} categories of {settings.categories.name}" if settings.categories else ""
    )
    return f"{settings.data.name}, {settings.split}{domain}{backbone}{half}"


def _gallery(settings: Settings) -> str:
    where = {
        "domain": "One gallery per domain; with several domains, the unweighted mean over them.",
        "joint": "One gallery for all domains.",
    }
    cut = f"Galleries of {settings.gallery} images of one domain; the queries are pooled."
    return (
        f"{where.get(str(settings.gallery), cut)} R@K is the share of queries with a relevant item "
        f"among the first K; relevant are the rows of the same image; a tie with an irrelevant item "
        f"counts against the method."
    )


def _number(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    deviation = "" if cell.deviation is None else f" ±{100 * cell.deviation:.2f}"
    return f"{100 * cell.mean:.2f}{BELOW if cell.below else ''}{UNSEPARATED if cell.unseparated else ''}{deviation}"


def _ceiling(comparison: Comparison, column: Column) -> str:
    name = column.title.rpartition(" ")[2]
    if not column.direction or name == "MRR":
        return ""
    return f"{100 * side(comparison.rows[0].results[0], column.direction).ceiling[name]:.2f}"


def _legend(comparison: Comparison) -> str:
    said = "Percent."
    if any(cell and cell.deviation is not None for row in comparison.rows for cell in row.cells):
        said += " Mean ± standard deviation over seeds."
    if any(row.label == REFERENCE for row in comparison.rows):
        said += f" {BELOW} below zero-shot."
    if any(cell and cell.unseparated for row in comparison.rows for cell in row.cells):
        said += (
            f" {UNSEPARATED} no difference to zero-shot's MRR shown (paired randomisation over "
            f"images, Holm over the methods, p ≥ {LEVEL})."
        )
    said += " Ceiling: what a perfect method gets, given that images share captions."
    results = [result for row in comparison.rows for result in row.results]
    remarks = {mark: line for each in results for mark, line in each.settings.remarks.items()}
    return " ".join([said, *(f"[{mark}]: {line}" for mark, line in sorted(remarks.items()))])


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _main(comparison: Comparison) -> list[str]:
    columns = percent_columns()
    rows = [[escape(row.label), *map(_number, row.cells)] for row in comparison.rows]
    rows.append(["*ceiling*", *(_ceiling(comparison, column) for column in columns)])
    return _grid(["method", *(column.title for column in columns)], rows)


HARMONIC = (
    "Percent. H: harmonic mean of base and new, each the mean over seeds, each half with a gallery "
    "of its own: only the listed categories were learned from."
)


def _halves(base: Comparison, new: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the methods that were measured on both halves; numbers as text."""
    names = [c.title for c in percent_columns()]
    unseen = {row.label: dict(zip(names, row.cells, strict=True)) for row in new.rows}
    rows = []
    for row in base.rows:
        seen = dict(zip(names, row.cells, strict=True))
        for each in DIRECTIONS if row.label in unseen else ():
            printed = [row.label, SHORT[each]]
            for name in ("R@1", "MRR"):
                one, other = (of[f"{SHORT[each]} {name}"] for of in (seen, unseen[row.label]))
                if one is not None and other is not None:
                    means = (one.mean, other.mean, harmonic(one.mean, other.mean))
                    printed += [f"{100 * mean:.2f}" for mean in means]
            rows.append(printed)
    head = [f"{name} {part}" for name in ("R@1", "MRR") for part in ("base", "new", "H")]
    return ["method", "", *head], rows


def _intervals(comparison: Comparison) -> list[str]:
    rows = []
    for row in comparison.rows:
        for result in row.results:
            cells = [
                "[{:.2f}, {:.2f}]".format(*(100 * end for end in side(result, each).interval[name]))
                for each in DIRECTIONS
                for name in ("R@1", "mrr")
            ]
            seed = "" if result.settings.seed is None else str(result.settings.seed)
            rows.append([escape(row.label), seed, *cells])
    head = [f"{SHORT[each]} {name}" for each in DIRECTIONS for name in ("R@1", "MRR")]
    return [
        "95 % bootstrap intervals, over images, seed by seed:",
        "",
        *_grid(["method", "seed", *head], rows),
        "",
    ]


def _more(comparison: Comparison) -> list[str]:
    head = ["method"]
    for each in DIRECTIONS:
        names = ("R@1, equal captions relevant", "median rank", "mean rank", "category R@1", "mAP")
        head += [f"{SHORT[each]} {name}" for name in names]
    rows = []
    for row in comparison.rows:
        cells = [escape(row.label)]
        for each in DIRECTIONS:
            sides = [side(result, each) for result in row.results]
            cells += [
                _percent([one.caption.recall["R@1"] for one in sides]),
                f"{fmean(one.strict.median_rank for one in sides):.1f}",
                f"{fmean(one.strict.mean_rank for one in sides):.1f}",
                _percent([one.category_recall_1 for one in sides]),
                _percent([one.category_map for one in sides]),
            ]
        rows.append(cells)
    return ["Ranks and categories, means over seeds:", "", *_grid(head, rows), ""]


NEGATIVES = (
    "True caption above all its hard negatives; a tie is a loss. Blind: a reader of captions alone, which "
    "learned from the training split's; what it reaches takes no image."
)


def _shares(comparison: Comparison) -> dict[str, Share]:
    """What all methods of a comparison have in common: rows, chance and blind accuracy, by kind.

    Where training rows changed between runs, their blind readers may disagree; none is shown then.
    """
    every = [result.metrics.hard_negatives for row in comparison.rows for result in row.results]
    return {
        kind: share
        if len({each[kind].blind for each in every}) == 1
        else replace(share, blind=None)
        for kind, share in sorted(every[0].items())
    }


def _blind(share: Share) -> str:
    return _percent([] if share.blind is None else [share.blind])


def _negatives(comparison: Comparison) -> list[str]:
    shares = _shares(comparison)
    if not shares:
        return []
    rows = [
        [escape(row.label), *(_percent(_values(row, kind)) for kind in shares)]
        for row in comparison.rows
    ]
    rows.append(["*blind*", *map(_blind, shares.values())])
    rows.append(["*guessing*", *(f"{100 * share.chance:.2f}" for share in shares.values())])
    rows.append(["*rows*", *(str(share.rows) for share in shares.values())])
    return [NEGATIVES, "", *_grid(["method", *map(escape, shares)], rows), ""]


def _negatives_grid(comparison: Comparison) -> list[RenderableType]:
    """The same for a terminal, on its side: a line for each kind, so that names of many kinds fit."""
    shares = _shares(comparison)
    if not shares:
        return []
    grid = Table(box=SIMPLE, pad_edge=False)
    grid.add_column("hard negatives", no_wrap=True)
    for name in (*(row.label for row in comparison.rows), "blind", "guessing", "rows"):
        grid.add_column(Text(name), justify="right", overflow="fold")
    for kind, share in shares.items():
        accuracies = [_percent(_values(row, kind)) for row in comparison.rows]
        known = (_blind(share), f"{100 * share.chance:.2f}", str(share.rows))
        grid.add_row(Text(kind), *accuracies, *known)
    return [grid, Text(NEGATIVES)]


def _domains(comparison: Comparison) -> list[str]:
    domains = sorted(comparison.rows[0].results[0].metrics.by_domain)
    if len(domains) < 2:
        return []
    rows = [
        [
            escape(row.label),
            *(
                " / ".join(
                    _percent([r.metrics.by_domain[name][each].recall["R@1"] for r in row.results])
                    for each in DIRECTIONS
                )
                for name in domains
            ),
        ]
        for row in comparison.rows
    ]
    return ["R@1 by domain, I2T / T2I:", "", *_grid(["method", *map(escape, domains)], rows), ""]


def _settings(comparison: Comparison) -> list[str]:
    rows = []
    for row in comparison.rows:
        first = row.results[0]
        said = first.settings
        asked = [f"{k}={v}" for part in (said.options, said.train or {}) for k, v in part.items()]
        best = [str(r.fit.best_epoch) for r in row.results if r.fit is not None]
        seconds = fmean(sum(r.seconds.values()) for r in row.results)
        rows.append(
            [
                escape(row.label),
                escape(", ".join(asked)) or "–",
                ", ".join(str(r.settings.seed) for r in row.results if r.settings.seed is not None)
                or "–",
                f"{first.learned_parameters:,}",
                ", ".join(best) or "–",
                f"{seconds:.1f}",
            ]
        )
    head = ["method", "settings", "seeds", "learned parameters", "best epoch", "seconds"]
    commands = [command(result.settings) for row in comparison.rows for result in row.results]
    versions = sorted(
        {f"{k} {v}" for r in comparison.rows for k, v in r.results[0].versions.items()}
    )
    return [
        "Settings, all resolved:",
        "",
        *_grid(head, rows),
        "",
        "The same numbers again:",
        "",
        "```console",
        *(f"$ {line}" for line in dict.fromkeys(commands)),
        "```",
        "",
        f"Data {comparison.settings.data.fingerprint[:16]}, backbone "
        f"{comparison.settings.backbone.fingerprint[:16]}, {', '.join(versions)}.",
        "",
    ]


def _values(row: Row, kind: str) -> list[float]:
    value = hard_negatives(kind)
    return [found for result in row.results if (found := value(result)) is not None]


def _percent(values: Sequence[float]) -> str:
    return f"{100 * fmean(values):.2f}" if values else "–"
