"""The pairs of a source as columns, and what was decided about each.

A build has millions of pairs, so a decision reads columns. It looks up a record only to explain a rejection.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from fdrd.curation.source_contents import CheckedImage, SourceContents, annotation_file
from fdrd.files.struct_file import StructFile
from fdrd.images.perceptual import BAND, FLAWS, Features, unpack, visible_flaws
from fdrd.negatives.given import plain as plain_text
from fdrd.policy import Policy, reject
from fdrd.reasons import KEEPABLE, KEPT_IN_REVIEW, Rejection
from fdrd.record import SPLITS, Record, Split, id_in_domain
from fdrd.text.keys import text_key

Integers = npt.NDArray[np.signedinteger[Any]]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")

SPLIT_OF: tuple[Split, ...] = ("", *SPLITS)
"""The split of each number in the column `split`."""
_BATCH = 4096


def sort_key(record: Record) -> bytes:
    """Return the sort key of rows: a hash, so that categories are mixed the same way in every build."""
    return hashlib.sha256(id_in_domain(record).encode()).digest()


class Numbering(dict[T, int]):
    """Numbers values from 0 as they come."""

    def __missing__(self, value: T) -> int:
        """Return the number of a new value."""
        self[value] = number = len(self)
        return number


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """The images of a source; each array has one entry per image, or one per distinct digest."""

    digests: npt.NDArray[np.bytes_]
    """distinct SHA-256 digests, sorted"""
    sizes: Integers
    """of the files, in bytes, by digest"""
    digest: Integers
    """index in `digests`"""
    width: Integers
    height: Integers
    rules: Integers
    """index in `rule_lists`"""
    rule_lists: Sequence[tuple[str, ...]]
    flaw: Integers
    """index in `flaws`"""
    flaws: Sequence[str]
    bad: Mask

    def name(self, digest: int) -> str:
        """Return a digest by its index."""
        return str(self.digests[digest].decode())


def image_columns(images: StructFile[CheckedImage]) -> ImageColumns:
    """Return the columns of checked images."""
    digests = [np.zeros(0, "S64")]
    columns = [np.zeros((0, 6), np.int64)]
    rules: Numbering[tuple[str, ...]] = Numbering()
    remaining = iter(images)
    while checks := [each.check for each in islice(remaining, _BATCH)]:
        digests.append(np.array([check.sha256 for check in checks], "S64"))
        flaw = np.zeros(len(checks), np.int64)
        seen = [number for number, check in enumerate(checks) if check.features]
        flaw[seen] = visible_flaws(unpack([checks[number].features for number in seen]))
        rows = [(c.bytes, c.width, c.height, rules[c.rules], bool(c.reason)) for c in checks]
        columns.append(np.column_stack([np.array(rows, np.int64), flaw]))
    distinct, first, digest = np.unique(
        np.concatenate(digests), return_index=True, return_inverse=True
    )
    size, width, height, rule, bad, flaw = np.concatenate(columns).T.copy()
    return ImageColumns(
        digests=distinct, sizes=size[first], digest=digest, width=width, height=height,
        rules=rule, rule_lists=list(rules), flaw=flaw, flaws=FLAWS, bad=bad > 0,
    )  # fmt: skip


@dataclass(slots=True)
class PairTable:
    """The records of a source as arrays with one entry each. Equal texts have equal numbers or keys.

    Attributes:
        contents: the texts.
        images: the columns of the images.
        image: index of the image.
        digest: index of the digest of the image.
        domain: index in `domains`.
        category: index in `categories`.
        license: index in `licenses`.
        file: index in `files`, where the annotation is counted (`annotation_file`).
        rules: index in `rule_lists`.
        id: `text_key` of the id.
        group: `text_key` of the given group, 0 for none.
        caption: `text_key` of the caption.
        folded: the same, ignoring case.
        plain: the same, ignoring case and white space.
        length: of the caption in characters.
        order: leading 128 bits of the sort key, as two columns.
        reviewed: whether a reviewer keeps the record.
        split: index in `SPLIT_OF`.
        kept: whether the record is kept so far.
        reported: by reason, the records that were kept in spite of it; reasons in the order of decisions.
        rejected: the records that are not kept.
        clusters: by digest, the group of near duplicates that have none.
    """

    contents: SourceContents
    images: ImageColumns
    image: Integers
    digest: Integers
    domain: Integers
    domains: Sequence[str]
    category: Integers
    categories: Sequence[str]
    license: Integers
    licenses: Sequence[str]
    file: Integers
    files: Sequence[str]
    rules: Integers
    rule_lists: Sequence[tuple[str, ...]]
    id: Keys
    group: Keys
    caption: Keys
    folded: Keys
    plain: Keys
    length: Integers
    order: Keys
    reviewed: Mask
    split: Integers
    kept: Mask
    reported: dict[str, Mask] = field(default_factory=dict)
    rejected: dict[int, Rejection] = field(default_factory=dict)
    clusters: dict[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> Integers:
        """The records that are kept so far."""
        return np.flatnonzero(self.kept)

    def by_split(self) -> dict[tuple[str, Split], Integers]:
        """Return the kept records of each domain and split, sorted by these names."""
        rows = self.rows
        found = {}
        for domain in np.unique(self.domain[rows]).tolist():
            for split in np.unique(self.split[rows]).tolist():
                here = rows[(self.domain[rows] == domain) & (self.split[rows] == split)]
                if len(here):
                    found[self.domains[domain], SPLIT_OF[split]] = here
        return dict(sorted(found.items()))

    def of_domain(self, domain: str) -> Integers:
        """Return the kept records of a domain."""
        return np.flatnonzero(self.kept & (self.domain == self.domains.index(domain)))

    def __getitem__(self, row: int) -> Record:
        """Return a record as the source has it."""
        return self.contents.records[row]

    def reject(self, row: int, reason: str, detail: str) -> None:
        """Reject a record."""
        self.kept[row] = False
        self.rejected[row] = reject(self[row], reason, detail)

    def apply_policy(
        self, rows: Integers, reason: str, detail: Callable[[int], str], policy: Policy
    ) -> None:
        """Report records if policy or reviewer keep them, and reject the others.

        `detail` explains the reason for one of them.
        """
        keep = np.full(len(rows), policy[reason] == "keep")
        if reason in KEEPABLE:
            keep |= self.reviewed[rows]
        if keep.any():
            mask = self.reported.setdefault(reason, np.zeros(len(self.kept), bool))
            mask[rows[keep]] = True
        for row in rows[~keep].tolist():
            self.reject(row, reason, detail(row))

    def unit(self, row: int) -> str:
        """Return the unit of a record that stays in one split: the given group, else the records of one image."""
        return self[row].group if self.group[row] else self.images.name(self.digest[row])[:16]

    def record(self, row: int) -> Record:
        """Return a record with its image, split, group and reasons."""
        record, image = self[row], self.image[row]
        digest = int(self.digest[row])
        sha256 = self.images.name(digest)
        rules = (
            *record.rules,
            *self.images.rule_lists[self.images.rules[image]],
            *(reason for reason, mask in self.reported.items() if mask[row]),
        )
        return replace(
            record,
            source=replace(record.source, sha256=sha256),
            width=int(self.images.width[image]),
            height=int(self.images.height[image]),
            split=SPLIT_OF[self.split[row]],
            group=record.group or self.clusters.get(digest) or sha256[:16],
            rules=rules,
        )

    def count(self, column: Integers, names: Sequence[T]) -> Counter[T]:
        """Count the kept records by the names of the numbers in a column."""
        counts = np.bincount(column[self.rows], minlength=len(names)).tolist()
        return Counter({name: n for name, n in zip(names, counts, strict=True) if n})

    def rule_counts(self) -> Counter[str]:
        """Count the kept records by applied rule, and by reason in spite of which they are kept."""
        found: Counter[str] = Counter()
        image_rules = self.images.rules[self.image]
        for column, lists in ((self.rules, self.rule_lists), (image_rules, self.images.rule_lists)):
            for rules, rows in self.count(column, lists).items():
                found.update(dict.fromkeys(rules, rows))
        for reason, mask in self.reported.items():
            found[reason] += int(np.count_nonzero(mask & self.kept))
        return +found

    def named_categories(self, rows: Integers | None = None) -> set[tuple[str, str]]:
        """Return domain and category of records, by default of the kept ones that have one."""
        rows = self.rows if rows is None else rows
        found = np.unique(np.stack([self.domain[rows], self.category[rows]]), axis=1).T.tolist()
        named = {(self.domains[domain], self.categories[category]) for domain, category in found}
        return {(domain, category) for domain, category in named if category}

    def records(self) -> Iterator[Record]:
        """Yield the kept records in source order."""
        return map(self.record, self.rows.tolist())

    def rejections(self) -> list[Rejection]:
        """Return all rejections in source order."""
        places = self.contents.places
        found = [(places[row], rejection) for row, rejection in self.rejected.items()]
        return [rejection for _, rejection in sorted([*found, *self.contents.rejections],
                                                     key=lambda each: each[0])]  # fmt: skip

    def features(self) -> tuple[Integers, Features]:
        """Return the digests of the images of kept records, sorted, and (N, 14, 14) their features."""
        digests = np.unique(self.digest[self.rows])
        place = np.full(len(self.images.digests), -1)
        place[digests] = np.arange(len(digests))
        features = np.zeros((len(digests), BAND, BAND), np.int8)
        found = np.zeros(len(digests), bool)
        images, start = iter(self.contents.images), 0
        while checks := [each.check for each in islice(images, _BATCH)]:
            here = place[self.images.digest[start : start + len(checks)]]
            seen = [k for k, check in enumerate(checks) if here[k] >= 0 and check.features]
            features[here[seen]] = unpack([checks[k].features for k in seen])
            found[here[seen]] = True
            start += len(checks)
        return (digests, features) if found.all() else (digests[found], features[found])


def pair_table(contents: SourceContents) -> PairTable:
    """Return the columns of a source. Nothing is rejected yet."""
    domains, categories, licenses = Numbering[str](), Numbering[str](), Numbering[str]()
    files, rules = Numbering[str](), Numbering[tuple[str, ...]]()
    numbers = [array("i") for _ in range(6)]
    keys = [array("Q") for _ in range(7)]
    splits, reviewed = bytearray(), bytearray()
    for record in contents.records:
        row = (
            domains[record.domain],
            categories[record.category],
            licenses[record.source.license],
            files[annotation_file(record.source.origin.partition(": ")[0])],
            rules[record.rules],
            len(record.caption),
        )
        for column, number in zip(numbers, row, strict=True):
            column.append(number)
        order = sort_key(record)
        texts = (
            text_key(record.id),
            text_key(record.group) or 1 if record.group else 0,
            text_key(record.caption),
            text_key(record.caption.casefold()),
            text_key(plain_text(record.caption)),
            int.from_bytes(order[:8]),
            int.from_bytes(order[8:16]),
        )
        for texts_column, key in zip(keys, texts, strict=True):
            texts_column.append(key)
        splits.append(SPLIT_OF.index(record.split))
        reviewed.append(KEPT_IN_REVIEW in record.rules)
    domain, category, license, file, rule, length = (np.array(each, np.int32) for each in numbers)
    id, group, caption, folded, plain, *order_keys = (np.array(each, np.uint64) for each in keys)
    images = image_columns(contents.images)
    image = np.array(contents.image_of, dtype=np.int32)
    return PairTable(
        contents=contents, images=images, image=image, digest=images.digest[image],
        domain=domain, domains=list(domains), category=category, categories=list(categories),
        license=license, licenses=list(licenses), file=file, files=list(files),
        rules=rule, rule_lists=list(rules), id=id, group=group, caption=caption, folded=folded,
        plain=plain, length=length, order=np.stack(order_keys), reviewed=np.array(reviewed, bool),
        split=np.array(splits, np.int8), kept=np.ones(len(image), bool),
    )  # fmt: skip
