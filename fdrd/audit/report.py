"""The audit of a domain: what is wrong with its captions and negatives, and what a blind reader makes of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fdrd.attributes import TYPES, find_attributes
from fdrd.audit.blind import Blind, Row, blind_accuracy
from fdrd.audit.flaws import FLAWS, NEGATIVE_FLAWS, caption_flaws, clip_tokens, negative_flaws
from fdrd.negatives.given import plain
from fdrd.record import Record

_TILTED = 5  # words shown as most typical of true captions, and of negatives


@dataclass(frozen=True, slots=True)
class Bias:
    """What tells true captions from negatives at first sight.

    Attributes:
        true_words: mean number of words of a true caption.
        negative_words: of a negative.
        longest_is_true: share of rows whose longest candidate, by characters, is the true one; ties count
            in part, so that 1 / (1 + K) is no bias.
        true: words that true captions have more often, with the factor.
        negative: words that negatives have more often, with the factor.
    """

    true_words: float
    negative_words: float
    longest_is_true: float
    true: tuple[tuple[str, float], ...]
    negative: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one domain.

    Attributes:
        domain: its name.
        rows: image-caption pairs.
        captions: distinct ones.
        sharing: rows whose caption another row has too.
        categories: that occur.
        negatives: of all rows.
        clip_tokens: mean and largest estimate.
        flaws: rows whose caption has the flaw, by key of `FLAWS`.
        negative_flaws: by key of `NEGATIVE_FLAWS`, rows with such a negative and the number of those.
        bias: None where no row has negatives.
        blind: by kind of negative ("all" if there are several) and reader; None if none was asked for.
        coverage: share of captions with an attribute, by type.
        coverage_of_category: the same for each category.
    """

    domain: str
    rows: int
    captions: int
    sharing: int
    categories: int
    negatives: int
    clip_tokens: tuple[float, int]
    flaws: Mapping[str, int]
    negative_flaws: Mapping[str, tuple[int, int]]
    bias: Bias | None
    blind: Mapping[str, Mapping[str, Blind]] | None
    coverage: Mapping[str, float]
    coverage_of_category: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """All of it in types that `json` knows."""
        return asdict(self)


def audit(records: Iterable[Record], *, blind: bool = True) -> tuple[Audit, ...]:
    """One audit for each domain of the records, sorted by name.

    Args:
        records: with their negatives; attributes are looked for where a record has none.
        blind: whether to train the blind readers, some seconds for each thousand rows.
    """
    of_domain: dict[str, list[Record]] = {}
    for record in records:
        of_domain.setdefault(record.domain, []).append(record)
    return tuple(_audit(domain, of, blind) for domain, of in sorted(of_domain.items()))


def _audit(domain: str, records: Sequence[Record], blind: bool) -> Audit:
    true = {plain(record.caption) for record in records}
    times = Counter(record.caption for record in records)
    flaws: Counter[str] = Counter()
    rows_with: Counter[str] = Counter()
    number_of: Counter[str] = Counter()
    for record in records:
        flaws.update(caption_flaws(record.caption, record.category))
        found = [flaw for _, flaw in negative_flaws(record, true)]
        number_of.update(found)
        rows_with.update(set(found))
    tokens = [clip_tokens(record.caption) for record in records]
    coverage, coverage_of_category = _coverage(records)
    rows = [(record.caption, [n.caption for n in record.negatives]) for record in records]
    return Audit(
        domain=domain,
        rows=len(records),
        captions=len(times),
        sharing=sum(number for number in times.values() if number > 1),
        categories=len({record.category for record in records}),
        negatives=sum(len(record.negatives) for record in records),
        clip_tokens=(sum(tokens) / len(tokens), max(tokens)),
        flaws={flaw: flaws[flaw] for flaw in FLAWS},
        negative_flaws={flaw: (rows_with[flaw], number_of[flaw]) for flaw in NEGATIVE_FLAWS},
        bias=_bias([row for row in rows if row[1]]),
        blind=_blind(records) if blind else None,
        coverage=coverage,
        coverage_of_category=coverage_of_category,
    )


def _blind(records: Sequence[Record]) -> dict[str, dict[str, Blind]]:
    kinds = sorted({negative.kind for record in records for negative in record.negatives})
    found: dict[str, dict[str, Blind]] = {}
    for kind in [*kinds, *(["all"] if len(kinds) > 1 else [])]:
        rows = [
            (record.caption, [n.caption for n in record.negatives if kind in ("all", n.kind)])
            for record in records
        ]
        for reader in ("words", "context"):
            result = blind_accuracy(rows, reader)
            if result:
                found.setdefault(kind, {})[reader] = result
    return found


def _bias(rows: Sequence[Row]) -> Bias | None:
    if not rows:
        return None
    true: Counter[str] = Counter()
    negative: Counter[str] = Counter()
    longest = true_words = negative_words = 0.0
    for caption, negatives in rows:
        longest += _is_longest(caption, negatives)
        true_words += len(caption.split())
        negative_words += sum(len(text.split()) for text in negatives) / len(negatives)
        true.update({word: len(negatives) for word in set(caption.split())})
        for text in negatives:
            negative.update(set(text.split()))
    # A word needs some occurrences before its factor says anything.
    enough = 5 + len(rows) // 200
    tilt = {
        word: math.log((true[word] + 1) / (negative[word] + 1))
        for word in true.keys() | negative.keys()
        if true[word] + negative[word] >= enough
    }
    ordered = sorted(tilt, key=lambda word: (tilt[word], word))
    return Bias(
        true_words=true_words / len(rows),
        negative_words=negative_words / len(rows),
        longest_is_true=longest / len(rows),
        true=tuple((word, math.exp(tilt[word])) for word in reversed(ordered[-_TILTED:])),
        negative=tuple((word, math.exp(-tilt[word])) for word in ordered[:_TILTED]),
    )


def _is_longest(caption: str, negatives: Sequence[str]) -> float:
    longest = max(map(len, negatives))
    if len(caption) < longest:
        return 0.0
    return 1 / (1 + sum(len(text) == len(caption) for text in negatives))


def _coverage(records: Sequence[Record]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    having: dict[str, Counter[str]] = {}
    size: Counter[str] = Counter()
    for record in records:
        attributes = record.attributes or find_attributes(record.caption, record.category)
        having.setdefault(record.category, Counter()).update({a.type for a in attributes})
        size[record.category] += 1
    of_all = sum(having.values(), Counter())
    return (
        {type_: of_all[type_] / len(records) for type_ in TYPES},
        {
            category: {type_: having[category][type_] / size[category] for type_ in TYPES}
            for category in sorted(having)
        },
    )
