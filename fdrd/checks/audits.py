"""The audit of each domain: flaws and bias of captions and negatives, the text-only baseline, and the rows behind."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from rich.console import Group, RenderableType
from rich.text import Text

from fdrd.checks.flaws import FLAWS, NEGATIVE_FLAWS, caption_flaws, flawed_negatives
from fdrd.checks.tally import KeySet, Tally, true_captions
from fdrd.checks.text_only import TextOnlyScore, text_only_accuracy
from fdrd.curation.pair_table import annotation_file
from fdrd.curation.splitting import CLUSTER
from fdrd.errors import FdrdError
from fdrd.negatives.draw import make_catalogs, with_given
from fdrd.options import closest
from fdrd.record import Record
from fdrd.sources import find_domains, read_domain
from fdrd.storage.manifest import Manifest, read_manifest
from fdrd.storage.shards import read_records
from fdrd.text.attributes import TYPES
from fdrd.text.grid import Grid
from fdrd.text.markup import escape, markdown_table
from fdrd.text.normalize import text_key

FINDINGS: dict[str, str] = {
    **FLAWS,
    **{f"negative_{flaw}": text for flaw, text in NEGATIVE_FLAWS.items()},
    "shared_caption": "another row of the domain has the same caption",
    "near_duplicate": "another image of the group resembles this one, or is its mirrored or turned copy",
}
"""Reasons of findings."""
_BIASED_WORDS = 5  # words shown as most typical of true captions, and of negatives
_TILT = 1.05  # words with a smaller factor are not shown
_NOT_TRAINED = (
    "The text-only baseline, which picks the true caption among its negatives without the image, takes some "
    "seconds per thousand rows. Run `fdrd audit` on this folder to add it here."
)

_Rows = list[tuple[str, ...]]
AuditInput = tuple[list[Record], Mapping[str, int]]
"""records, and how often each normalization rule was applied to them"""
TextOnlyScores = Mapping[str, Mapping[str, TextOnlyScore]]
"""by kind of negative ("all" if there are several) and reader"""


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
    text_only: TextOnlyScores | None
    """text-only baseline; None if not trained"""
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


def dataset_records(folder: Path) -> AuditInput:
    """Return the records of a built dataset, by domain."""
    manifest = read_manifest(folder)
    return list(named_records(folder, manifest)), manifest.rules


def named_records(folder: Path, manifest: Manifest) -> Iterator[Record]:
    """Yield the records of a built dataset with their categories as the captions name them.

    Where domains share a category, its class label starts with the domain (`fdrd.record.class_labels`).
    """
    for record in read_records(folder, manifest):
        prefix = f"{record.domain}: "
        negatives = tuple(
            replace(negative, category=negative.category.removeprefix(prefix))
            for negative in record.negatives
        )
        category = record.category.removeprefix(prefix)
        yield replace(record, category=category, negatives=negatives)


def source_records(root: Path) -> AuditInput:
    """Return the records of raw annotations, with the annotation file as the domain.

    Raise `FdrdError` if there are none.
    """
    items = (item for domain in find_domains(root) for item in read_domain(root, domain, False))
    records = [
        replace(item, domain=annotation_file(item.source.origin.partition(": ")[0]))
        for item in items
        if isinstance(item, Record)
    ]
    if not records:
        raise FdrdError(f"{root}: no annotation is a valid record; `fdrd build` lists the reasons")
    catalogs = make_catalogs(records)
    named = [with_given(record, catalogs[record.domain]) for record in records]
    rules = Counter(rule for record in named for rule in record.rules)
    return named, dict(sorted(rules.items()))


def audit_records(records: Iterable[Record], *, text_only: bool = True) -> tuple[Audit, ...]:
    """Audit records domain by domain, sorted by name. Attributes are detected where a record has none."""
    audits = []
    for domain, rows in _by_domain(records):
        tally, true = Tally(domain), true_captions(record.caption for record in rows)
        for record in rows:
            tally.count(record, true)
        audits.append(report(tally, _text_only(rows) if text_only else None))
    return tuple(audits)


def report(tally: Tally, text_only: TextOnlyScores | None = None) -> Audit:
    """Return the audit of a domain whose rows are all counted."""
    described: Counter[str] = Counter()
    rows_of_caption = np.unique(np.array(tally.captions), return_counts=True)[1]
    for (_, type_), rows in tally.having.items():
        described[type_] += rows
    return Audit(
        domain=tally.domain,
        rows=tally.rows,
        captions=len(rows_of_caption),
        sharing=int(rows_of_caption[rows_of_caption > 1].sum()),
        categories=len(tally.size.keys() - {""}),
        negatives=tally.negatives.total(),
        clip_tokens=(tally.tokens / tally.rows, tally.most_tokens),
        flaws={flaw: tally.flaws[flaw] for flaw in FLAWS},
        negative_flaws={
            flaw: (tally.rows_with[flaw], tally.negative_flaws[flaw]) for flaw in NEGATIVE_FLAWS
        },
        bias=_bias(tally) if tally.rows_with_negatives else None,
        text_only=text_only,
        coverage={type_: described[type_] / tally.rows for type_ in TYPES},
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


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason of `FINDINGS` that applies to a row; a row with two such negatives has two findings."""

    reason: str
    domain: str
    id: str
    text: str  # the caption, the negative, or the group of near duplicates


def find_rows(records: Iterable[Record]) -> Iterator[Finding]:
    """Yield the findings of all records, domain by domain."""
    for domain, rows in _by_domain(records):
        true = true_captions(record.caption for record in rows)
        rows_with = Counter(record.caption for record in rows)
        images = {(record.group, record.source.sha256) for record in rows}
        images_in = Counter(group for group, _ in images if group.startswith(CLUSTER))
        for record in rows:
            for reason, text in _findings(record, true):
                yield Finding(reason, domain, record.id, text)
            if rows_with[record.caption] > 1:
                yield Finding("shared_caption", domain, record.id, record.caption)
            if images_in[record.group] > 1:
                yield Finding("near_duplicate", domain, record.id, record.group)


def _findings(record: Record, true: KeySet) -> Iterator[tuple[str, str]]:
    for flaw in caption_flaws(record.caption, record.category):
        yield flaw, record.caption
    for flaw, text in flawed_negatives(record, lambda text: text_key(text) in true):
        yield f"negative_{flaw}", text


def _by_domain(records: Iterable[Record]) -> list[tuple[str, list[Record]]]:
    domains: dict[str, list[Record]] = {}
    for record in records:
        domains.setdefault(record.domain, []).append(record)
    return sorted(domains.items())


def parse_limits(options: Sequence[str]) -> dict[str, int]:
    """Parse `REASON=N` options: the number of findings up to which a check passes.

    Raise `FdrdError` if the reason is unknown, or N is not a number from 0.

    >>> parse_limits(["negative_equal=0"])
    {'negative_equal': 0}
    """
    limits = {}
    for option in options:
        reason, _, limit = (part.strip() for part in option.partition("="))
        if reason not in FINDINGS:
            suggestion = closest(reason, FINDINGS) or ", ".join(FINDINGS)
            raise FdrdError(f"`fail_on` {option!r}: unknown reason {reason!r}; try {suggestion}")
        if not re.fullmatch(r"[0-9]{1,18}", limit):
            raise FdrdError(f"`fail_on` {option!r}: give REASON=N, e.g. {reason}=0")
        limits[reason] = int(limit)
    return limits


def exceeded(found: Iterable[Finding], limits: Mapping[str, int]) -> list[str]:
    """Return a sentence for each reason with more findings than its limit."""
    counts = Counter(finding.reason for finding in found)
    return [
        f"{counts[reason]:,} {reason}, the limit is {limit:,}"
        for reason, limit in limits.items()
        if counts[reason] > limit
    ]


def markdown(audits: Sequence[Audit]) -> str:
    """Return the section "Audit" of a dataset card."""
    parts = ["## Audit", "", "Computed from captions and negatives alone, by `fdrd audit`.", ""]
    for title, heads, rows in _tables(audits):
        cells = [tuple(map(escape, row)) for row in (heads, *rows)]
        parts += [f"**{title}**", "", markdown_table(cells[0], cells[1:], text_columns=1), ""]
    if any(audit.negatives and audit.text_only is None for audit in audits):
        parts += [_NOT_TRAINED, ""]
    return "\n".join(parts)


def tables(audits: Sequence[Audit]) -> RenderableType:
    """Return the same tables for a terminal."""
    grids = (Grid(heads, rows, title) for title, heads, rows in _tables(audits))
    return Group(*(each for grid in grids for each in (Text(""), grid)))


def _tables(audits: Sequence[Audit]) -> list[tuple[str, tuple[str, ...], _Rows]]:
    domains = tuple(audit.domain or "-" for audit in audits)
    found = [("Captions (rows)", ("", *domains), _caption_rows(audits))]
    if any(audit.negatives for audit in audits):
        found.append(("Negatives (rows / negatives)", ("", *domains), _negative_rows(audits)))
    if text_only := _text_only_rows(audits):
        heads = ("domain", "negatives", "rows", "chance", "words", "context")
        found.append(("Text-only baseline: accuracy without the image", heads, text_only))
    title = "Share of captions with an attribute of the type"
    types = audits[0].coverage if audits else ()
    shares = [(each, *(f"{audit.coverage[each]:.0%}" for audit in audits)) for each in types]
    return [*found, (title, ("type", *domains), shares)]


def _caption_rows(audits: Sequence[Audit]) -> _Rows:
    return [
        ("rows", *(f"{audit.rows:,}" for audit in audits)),
        ("categories", *(f"{audit.categories:,}" for audit in audits)),
        ("rows that share their caption", *(f"{audit.sharing:,}" for audit in audits)),
        ("CLIP tokens, mean (estimate)", *(f"{audit.clip_tokens[0]:.1f}" for audit in audits)),
        ("CLIP tokens, maximum (estimate)", *(f"{audit.clip_tokens[1]}" for audit in audits)),
        *((text, *(f"{audit.flaws[flaw]:,}" for audit in audits)) for flaw, text in FLAWS.items()),
    ]


def _negative_rows(audits: Sequence[Audit]) -> _Rows:
    biases = [audit.bias for audit in audits]
    return [
        ("negatives", *(f"{audit.negatives:,}" for audit in audits)),
        *(
            (text, *("{:,} / {:,}".format(*audit.negative_flaws[flaw]) for audit in audits))
            for flaw, text in NEGATIVE_FLAWS.items()
        ),
        ("words per true caption", *(f"{b.true_words:.2f}" if b else "-" for b in biases)),
        ("words per negative", *(f"{b.negative_words:.2f}" if b else "-" for b in biases)),
        ("the longest is true", *(f"{b.longest_is_true:.1%}" if b else "-" for b in biases)),
        ("more frequent in true captions", *(_tilted(b.true) if b else "-" for b in biases)),
        ("more frequent in negatives", *(_tilted(b.negative) if b else "-" for b in biases)),
    ]


def _tilted(words: Sequence[tuple[str, float]]) -> str:
    """Return words with the factor by which they are more frequent.

    >>> _tilted([("hairless", 2.04), ("a", 1.0)])
    'hairless 2.0x'
    """
    return ", ".join(f"{word} {factor:.1f}x" for word, factor in words if factor >= _TILT) or "-"


def _text_only_rows(audits: Sequence[Audit]) -> _Rows:
    return [
        (
            audit.domain or "-",
            kind,
            f"{readers['words'].rows:,}",
            f"{readers['words'].chance:.1%}",
            *(
                f"{100 * readers[reader].accuracy:.1f} ± {readers[reader].standard_error:.1%}"
                for reader in ("words", "context")
            ),
        )
        for audit in audits
        for kind, readers in (audit.text_only or {}).items()
    ]
