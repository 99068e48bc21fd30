"""What tables and pages say in words: headings, legends, numbers, and the command that repeats a run.

Printed numbers are percent.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from statistics import fmean

from benchmark.reporting.comparison import LEVEL, REFERENCE, Cell, Column, Comparison, side
from benchmark.result import NO_BACKBONE, Settings

BELOW = "▼"
UNSEPARATED = "≈"
SHORT = {"image_to_text": "I2T", "text_to_image": "T2I"}

NEGATIVES = (
    "True caption above all its hard negatives; a tie is a loss. Blind: a reader of captions alone, which "
    "learned from the training split's; what it reaches takes no image."
)

HARMONIC = (
    "Percent. H: harmonic mean of base and new, each the mean over seeds, each half with a gallery "
    "of its own: only the listed categories were learned from."
)


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


def gallery(settings: Settings) -> str:
    """Who competes with whom, and what a recall is."""
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


def legend(comparison: Comparison) -> str:
    """What the signs in a comparison's main table mean, and what its methods must say of themselves."""
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


def number(cell: Cell | None) -> str:
    """A number of the main table with its marks."""
    if cell is None:
        return "–"
    deviation = "" if cell.deviation is None else f" ±{100 * cell.deviation:.2f}"
    return f"{100 * cell.mean:.2f}{BELOW if cell.below else ''}{UNSEPARATED if cell.unseparated else ''}{deviation}"


def ceiling(comparison: Comparison, column: Column) -> str:
    """What a perfect method gets in a column, nothing where that is not known."""
    name = column.title.rpartition(" ")[2]
    if not column.direction or name == "MRR":
        return ""
    return f"{100 * side(comparison.rows[0].results[0], column.direction).ceiling[name]:.2f}"


def percent(values: Sequence[float]) -> str:
    """The mean of some fractions; a dash where there are none."""
    return f"{100 * fmean(values):.2f}" if values else "–"


def commands(comparison: Comparison) -> list[str]:
    """What gives all numbers of a comparison again, each command once."""
    return list(dict.fromkeys(command(r.settings) for row in comparison.rows for r in row.results))


def versions(comparison: Comparison) -> str:
    """The data, the backbone and the packages that the numbers are of."""
    said = comparison.settings
    packages = {f"{k} {v}" for row in comparison.rows for k, v in row.results[0].versions.items()}
    return (
        f"Data {said.data.fingerprint[:16]}, backbone {said.backbone.fingerprint[:16]}, "
        f"{', '.join(sorted(packages))}."
    )
