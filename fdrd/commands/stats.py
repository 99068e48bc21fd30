"""`fdrd stats` and `fdrd validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fdrd.commands.console import count_of, out, show_progress
from fdrd.commands.options import Json, OptionalFolder, default_dataset

if TYPE_CHECKING:
    from fdrd.checks.statistics import SplitStats


def stats(dataset: OptionalFolder = None, json: Json = False) -> None:
    """Show counts, caption lengths (median and maximum) and the source's own columns, by domain and split.

    Examples:
        fdrd stats data/fdrd
    """
    from fdrd.checks.statistics import stats as count
    from fdrd.record import KINDS

    found = count(dataset or default_dataset())
    if json:
        out.json(found)
        return
    headings = "domain split pairs images captions shared categories"
    out.table(headings.split(), map(_counts, found))
    out.print()
    headings = "domain split words/max tokens/max truncated negatives attributes"
    out.table(headings.split(), map(_texts, found))
    if any(each for split in found for each in split.natural_pairs.values()):
        out.print()
        rows = [
            [split.domain, split.split, *(f"{each:,}" for each in split.natural_pairs.values())]
            for split in found
        ]
        out.table(["domain", "split", *(f"{kind} pairs" for kind in KINDS)], rows)
    if columns := [row for split in found for row in _columns(split)]:
        out.print()
        out.table("domain split column type distinct nulls range".split(), columns)


def _columns(split: SplitStats) -> list[list[str]]:
    """Return a row for each column of the source that fdrd does not know."""
    return [
        [
            *(split.domain, split.split, column.name, column.type),
            *(f"{column.distinct:,}", f"{column.nulls:,}"),
            "" if column.low is None else f"{column.low:,} to {column.high:,}",
        ]
        for column in split.columns
    ]


def _counts(split: SplitStats) -> list[str]:
    counts = (split.pairs, split.images, split.captions, split.shared_captions)
    categories = f"{split.categories:,}" if split.categories else "none"
    return [split.domain, split.split, *(f"{count:,}" for count in counts), categories]


def _texts(split: SplitStats) -> list[str]:
    tokens = ["unknown", ""]
    if split.tokens_median is not None:
        tokens = [f"{split.tokens_median:g}/{split.tokens_max}", f"{split.over_limit:,}"]
    words = f"{split.words_median:g}/{split.words_max}"
    per_pair = [f"{split.negatives_per_pair:.2f}", f"{split.attributes_per_pair:.2f}"]
    return [split.domain, split.split, words, *tokens, *per_pair]


def validate(
    dataset: OptionalFolder = None,
    images: Annotated[bool, typer.Option("--images")] = False,
    json: Json = False,
) -> None:
    """Check every digest, count, span, negative and split of a dataset. Exit with 1 on any problem.

    Args:
        images: Also decode every image and find near duplicates in other splits.

    Examples:
        fdrd validate data/fdrd
    """
    from fdrd.checks.validation import validate as check

    folder = dataset or default_dataset()
    with show_progress("Nothing was changed.") as progress:
        problems = check(folder, images=images, progress=progress)
    if json:
        out.json(problems)
    else:
        for problem in problems:
            out.print(f"{problem.place}: {problem.what}")
        out.print(f"{folder}: {count_of(len(problems), 'problem') if problems else 'valid'}")
    if problems:
        raise typer.Exit(1)
