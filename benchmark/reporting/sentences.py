"""The sentences of a report: what was measured, what signs mean, and the commands that repeat the runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from benchmark.rank_metrics import DIRECTIONS, main_columns
from benchmark.reporting.comparison import LEVEL, Comparison, Row
from benchmark.result import BenchResult
from benchmark.settings import NO_BACKBONE, Settings

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
    cells = [
        cell
        for row in comparison.rows
        for column in main_columns()
        if (cell := comparison.cell(row, column))
    ]
    parts = ["Percent."]
    if any(cell.deviation is not None for cell in cells):
        parts.append("Mean ± standard deviation over seeds.")
    if len(comparison.rows) > 1:
        parts.append(
            f"{BEST} the best MRR, and every MRR that does not differ significantly from it (paired randomization "
            f"test over images, Holm correction over methods, p ≥ {LEVEL})."
        )
    if comparison.reference is not None and any(cell.worse for cell in cells):
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
