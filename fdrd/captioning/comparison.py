"""Two runs of captioning, or any two sources with captions of the same pictures, side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fdrd.captioning.measure import measure
from fdrd.captioning.written import Written
from fdrd.checks.audit.flaws import FLAWS, caption_flaws, clip_tokens
from fdrd.errors import FdrdError
from fdrd.record import Record
from fdrd.text.attributes import find_attributes

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Side:
    """The captions of one run, of the pictures that both have captions for.

    Attributes:
        source: the folder.
        captions: of the run in all.
        rejected: pictures that it rejected, by reason.
        distinct: different captions.
        words: mean number of words.
        clip_tokens: mean number, by the estimate of `fdrd.checks.audit`.
        vocabulary: different words.
        attributes: mean number found in a caption.
        flaws: captions with each flaw of `fdrd.checks.audit`.
        noise: captions that a noise filter would reject.
        clip_score: mean, where the run has one for every caption.
        rounds: mean number, where the run says so.
    """

    source: str
    captions: int
    rejected: Mapping[str, int]
    distinct: int
    words: float
    clip_tokens: float
    vocabulary: int
    attributes: float
    flaws: Mapping[str, int]
    noise: int
    clip_score: float | None
    rounds: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs.

    Attributes:
        both: pictures that have a caption in both.
        equal: of them, whose captions are equal.
        common_words: mean share of words that the two captions of a picture have in common.
        sides: the first run and the second.
    """

    both: int
    equal: int
    common_words: float
    sides: tuple[Side, Side]


def compare(one: Written, other: Written) -> Comparison:
    """The runs, over the records whose id both have.

    Raises:
        FdrdError: no record is in both.
    """
    ids = sorted(one.records.keys() & other.records.keys())
    if not ids:
        raise FdrdError(
            f"{one.root} and {other.root} have no record in common; compare two runs of one source"
        )
    pairs = [(one.records[id_].caption, other.records[id_].caption) for id_ in ids]
    return Comparison(
        both=len(ids),
        equal=sum(first == second for first, second in pairs),
        common_words=fmean(_common(first, second) for first, second in pairs),
        sides=(_side(one, ids), _side(other, ids)),
    )


def table(found: Comparison) -> Any:
    """The comparison for a terminal."""
    from rich.table import Table
    from rich.text import Text

    title = (
        f"{found.both:,} pictures have a caption in both; {found.equal:,} captions are equal, "
        f"{found.common_words:.1%} of the words are"
    )
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for side in found.sides:
        shown.add_column(Text(side.source), justify="right")
    for name, *cells in _rows(found.sides):
        shown.add_row(*map(Text, (name, *cells)))
    return shown


def _rows(sides: tuple[Side, Side]) -> list[tuple[str, ...]]:
    rows = [
        ("captions in all", *(f"{side.captions:,}" for side in sides)),
        ("distinct", *(f"{side.distinct:,}" for side in sides)),
        ("words, mean", *(f"{side.words:.1f}" for side in sides)),
        ("CLIP tokens, mean (estimate)", *(f"{side.clip_tokens:.1f}" for side in sides)),
        ("different words", *(f"{side.vocabulary:,}" for side in sides)),
        ("attributes in a caption, mean", *(f"{side.attributes:.2f}" for side in sides)),
        ("a noise filter would reject", *(f"{side.noise:,}" for side in sides)),
        ("CLIP score, mean", *(_or_dash(side.clip_score, ".4f") for side in sides)),
        ("rounds, mean", *(_or_dash(side.rounds, ".2f") for side in sides)),
    ]
    rows += [(text, *(f"{side.flaws[flaw]:,}" for side in sides)) for flaw, text in FLAWS.items()]
    for reason in sorted({reason for side in sides for reason in side.rejected}):
        rows.append(
            (f"rejected: {reason}", *(f"{side.rejected.get(reason, 0):,}" for side in sides))
        )
    return rows


def _side(run: Written, ids: Sequence[str]) -> Side:
    records = [run.records[id_] for id_ in ids]
    captions = [record.caption for record in records]
    words = [_words(caption) for caption in captions]
    flaws = dict.fromkeys(FLAWS, 0)
    for record in records:
        for flaw in caption_flaws(record.caption, record.category):
            flaws[flaw] += 1
    return Side(
        source=str(run.root),
        captions=len(run.records),
        rejected=run.reasons(),
        distinct=len(set(captions)),
        words=fmean(map(len, words)),
        clip_tokens=fmean(map(clip_tokens, captions)),
        vocabulary=len({word for of in words for word in of}),
        attributes=fmean(_attributes(record) for record in records),
        flaws=flaws,
        noise=sum(noise.rejected for noise in measure(records)),
        clip_score=_mean([run.made.get(id_, {}).get("clip_score") for id_ in ids]),
        rounds=_mean([run.made.get(id_, {}).get("rounds") for id_ in ids]),
    )


def _attributes(record: Record) -> int:
    return len(find_attributes(record.caption, record.category))


def _mean(values: Sequence[object]) -> float | None:
    numbers = [value for value in values if isinstance(value, int | float)]
    return fmean(numbers) if numbers and len(numbers) == len(values) else None


def _common(one: str, other: str) -> float:
    """Share of the words of either that both have.

    >>> _common("A red wren.", "A wren")
    0.6666666666666666
    """
    first, second = set(_words(one)), set(_words(other))
    return len(first & second) / max(1, len(first | second))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
