"""The audit of a domain: what is wrong with its captions and negatives, and what a blind reader makes of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fdrd.checks.audit.blind import Blind, blind_accuracy
from fdrd.checks.audit.flaws import FLAWS, NEGATIVE_FLAWS
from fdrd.checks.audit.tally import Tally, true_captions
from fdrd.record import Record
from fdrd.text.attributes import TYPES

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
    audits = []
    for domain, found in sorted(of_domain.items()):
        tally, true = Tally(), true_captions([record.caption for record in found])
        for record in found:
            tally.count(record, true)
        audits.append(report(domain, tally, _blind(found) if blind else None))
    return tuple(audits)


def report(
    domain: str, tally: Tally, blind: Mapping[str, Mapping[str, Blind]] | None = None
) -> Audit:
    """The audit of a domain, all rows of which were counted."""
    of_all = sum(tally.having.values(), Counter())
    return Audit(
        domain=domain,
        rows=tally.rows,
        captions=len(tally.captions),
        sharing=sum(number for number in tally.captions.values() if number > 1),
        categories=len(tally.size),
        negatives=tally.negatives,
        clip_tokens=(tally.tokens / tally.rows, tally.most_tokens),
        flaws={flaw: tally.flaws[flaw] for flaw in FLAWS},
        negative_flaws={
            flaw: (tally.rows_with[flaw], tally.number_of[flaw]) for flaw in NEGATIVE_FLAWS
        },
        bias=_bias(tally) if tally.rows_with_negatives else None,
        blind=blind,
        coverage={type_: of_all[type_] / tally.rows for type_ in TYPES},
        coverage_of_category={
            category: {
                type_: tally.having[category][type_] / tally.size[category] for type_ in TYPES
            }
            for category in sorted(tally.having)
        },
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


def _bias(tally: Tally) -> Bias:
    rows, true, negative = tally.rows_with_negatives, tally.in_true, tally.in_negatives
    # A word needs some occurrences before its factor says anything.
    enough = 5 + rows // 200
    tilt = {
        word: math.log((true[word] + 1) / (negative[word] + 1))
        for word in true.keys() | negative.keys()
        if true[word] + negative[word] >= enough
    }
    ordered = sorted(tilt, key=lambda word: (tilt[word], word))
    return Bias(
        true_words=tally.true_words / rows,
        negative_words=tally.negative_words / rows,
        longest_is_true=tally.longest_is_true / rows,
        true=tuple((word, math.exp(tilt[word])) for word in reversed(ordered[-_TILTED:])),
        negative=tuple((word, math.exp(-tilt[word])) for word in ordered[:_TILTED]),
    )
