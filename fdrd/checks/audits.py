"""The audit of each domain: flaws and bias of its captions and negatives, and the text-only baseline."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fdrd.checks.audit_records import dataset_records, source_records
from fdrd.checks.flaws import FLAWS, NEGATIVE_FLAWS
from fdrd.checks.tally import Tally, true_captions
from fdrd.checks.text_only import TextOnlyScore, text_only_accuracy
from fdrd.record import Record
from fdrd.text.attributes import TYPES

_BIASED_WORDS = 5  # words shown as most typical of true captions, and of negatives


@dataclass(frozen=True, slots=True)
class Bias:
    """Surface differences between true captions and negatives."""

    true_words: float
    """mean number of words of a true caption"""
    negative_words: float
    """mean number of words of a negative"""
    longest_is_true: float
    """share of rows whose longest candidate is the true one; ties count in part: 1 / (1 + K) is no bias"""
    true: tuple[tuple[str, float], ...]
    """words that true captions have more often, with the factor"""
    negative: tuple[tuple[str, float], ...]
    """words that negatives have more often, with the factor"""


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one domain."""

    domain: str
    rows: int
    captions: int
    """distinct captions"""
    sharing: int
    """rows whose caption another row also has"""
    categories: int
    negatives: int
    clip_tokens: tuple[float, int]
    """mean and maximum, estimated"""
    flaws: Mapping[str, int]
    """rows by key of `FLAWS`"""
    negative_flaws: Mapping[str, tuple[int, int]]
    """rows and negatives by key of `NEGATIVE_FLAWS`"""
    bias: Bias | None
    """None if no row has negatives"""
    text_only: Mapping[str, Mapping[str, TextOnlyScore]] | None
    """text-only baseline by kind of negative ("all" if there are several) and reader; None if not trained"""
    coverage: Mapping[str, float]
    """share of captions with an attribute, by type"""
    coverage_of_category: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the audit in types that `json` can write."""
        return asdict(self)


def audit(path: str | os.PathLike[str], *, text_only: bool = True) -> tuple[Audit, ...]:
    """Audit the captions and negatives of a built dataset or of raw annotations.

    Args:
        path: a folder that `fdrd.build` wrote, or a folder of annotations. Images are not needed.
        text_only: train the text-only baseline, which takes a few seconds per thousand rows.

    Returns:
        One audit for each domain of a dataset, or for each annotation file.

    Raises:
        FdrdError: the folder is neither, or its manifest is not valid.
    """
    folder = Path(path)
    is_dataset = (folder / "manifest.json").is_file()
    records, _ = dataset_records(folder) if is_dataset else source_records(folder)
    return audit_records(records, text_only=text_only)


def audit_records(records: Iterable[Record], *, text_only: bool = True) -> tuple[Audit, ...]:
    """Audit records with their negatives, domain by domain, sorted by name.

    Attributes are detected where a record has none.
    """
    of_domain: dict[str, list[Record]] = {}
    for record in records:
        of_domain.setdefault(record.domain, []).append(record)
    audits = []
    for domain, found in sorted(of_domain.items()):
        tally, true = Tally(), true_captions(record.caption for record in found)
        for record in found:
            tally.count(record, true)
        audits.append(report(domain, tally, _text_only(found) if text_only else None))
    return tuple(audits)


def report(
    domain: str, tally: Tally, text_only: Mapping[str, Mapping[str, TextOnlyScore]] | None = None
) -> Audit:
    """Return the audit of a domain whose rows are all counted."""
    of_type: Counter[str] = Counter()
    rows_of_caption = np.unique(np.array(tally.captions), return_counts=True)[1]
    for (_, type_), rows in tally.having.items():
        of_type[type_] += rows
    return Audit(
        domain=domain,
        rows=tally.rows,
        captions=len(rows_of_caption),
        sharing=int(rows_of_caption[rows_of_caption > 1].sum()),
        categories=len(tally.size.keys() - {""}),
        negatives=tally.negatives,
        clip_tokens=(tally.tokens / tally.rows, tally.most_tokens),
        flaws={flaw: tally.flaws[flaw] for flaw in FLAWS},
        negative_flaws={
            flaw: (tally.rows_with[flaw], tally.number_of[flaw]) for flaw in NEGATIVE_FLAWS
        },
        bias=_bias(tally) if tally.rows_with_negatives else None,
        text_only=text_only,
        coverage={type_: of_type[type_] / tally.rows for type_ in TYPES},
        coverage_of_category={
            category: {type_: tally.having[category, type_] / rows for type_ in TYPES}
            for category, rows in sorted(tally.size.items())
        },
    )


def _text_only(records: Sequence[Record]) -> dict[str, dict[str, TextOnlyScore]]:
    kinds = sorted({negative.kind for record in records for negative in record.negatives})
    found: dict[str, dict[str, TextOnlyScore]] = {}
    for kind in [*kinds, *(["all"] if len(kinds) > 1 else [])]:
        rows = [
            (record.caption, [n.caption for n in record.negatives if kind in ("all", n.kind)])
            for record in records
        ]
        for reader in ("words", "context"):
            if result := text_only_accuracy(rows, reader):
                found.setdefault(kind, {})[reader] = result
    return found


def _bias(tally: Tally) -> Bias:
    rows, true, negative = tally.rows_with_negatives, tally.in_true, tally.in_negatives
    enough = 5 + rows // 200  # occurrences below which a factor is noise
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
        true=tuple((word, math.exp(tilt[word])) for word in reversed(ordered[-_BIASED_WORDS:])),
        negative=tuple((word, math.exp(-tilt[word])) for word in ordered[:_BIASED_WORDS]),
    )
