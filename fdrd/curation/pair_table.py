"""The pairs of a source as columns, and what was decided about each.

A build has millions of pairs, so a decision reads columns. It looks up a record only to explain a rejection.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec.structs import replace

from fdrd.columns import struct_schema
from fdrd.curation.source_contents import CheckedImage, SourceContents, annotation_file
from fdrd.files.struct_table import StructTable
from fdrd.images.perceptual import BAND, Features, unpack, visible_flaws
from fdrd.negatives.given import plain as plain_text
from fdrd.policy import Policy, reject
from fdrd.reasons import KEEPABLE, KEPT_IN_REVIEW, Rejection
from fdrd.record import SPLITS, Record, Split
from fdrd.text.normalize import text_key

Integers = npt.NDArray[np.signedinteger[Any]]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")

SPLIT_OF: tuple[Split, ...] = ("", *SPLITS)
"""The split of each number in the column `split`."""


class Numbering(dict[T, int]):
    """Numbers values from 0 as they come."""

    def __missing__(self, value: T) -> int:
        """Return the number of a new value."""
        self[value] = index = len(self)
        return index


@dataclass(frozen=True, slots=True)
class ImageTable:
    """The images of a source.

    Attributes:
        columns: by image, the columns of `_image_columns` and `digest`, its index in `digests`.
        digests: distinct SHA-256 digests, sorted.
        sizes: by digest, the size of the file in bytes.
        rule_lists: the lists of rules that the column `rules` numbers.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    digests: npt.NDArray[np.bytes_]
    sizes: Integers
    rule_lists: Sequence[tuple[str, ...]]

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """Return a column."""
        return self.columns[column]

    def name(self, digest: int) -> str:
        """Return a digest by its index."""
        return str(self.digests[digest].decode())


def _image_columns(
    batch: pa.RecordBatch, rules: Numbering[tuple[str, ...]]
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of some checked images; `flaw` is an index in `FLAWS`."""
    checks = batch.column("check")
    values = {name: checks.field(name).to_pylist() for name in ("sha256", "reason", "rules")}
    features = checks.field("features").to_pylist()
    seen = [row for row, encoded in enumerate(features) if encoded]
    flaw = np.zeros(len(features), np.int8)
    flaw[seen] = visible_flaws(unpack([features[row] for row in seen]))
    return {
        "sha256": np.array(values["sha256"], "S64"),
        **{
            name: np.array(checks.field(name).to_pylist(), np.int64)
            for name in ("bytes", "width", "height")
        },
        "rules": np.array([rules[tuple(each)] for each in values["rules"]], np.int32),
        "flaw": flaw,
        "bad": np.array([bool(reason) for reason in values["reason"]], bool),
    }


def image_table(images: StructTable[CheckedImage]) -> ImageTable:
    """Return the columns of checked images."""
    rules: Numbering[tuple[str, ...]] = Numbering()
    columns = _joined(_image_columns(batch, rules) for batch in _batches(images))
    digests, first, digest = np.unique(
        columns.pop("sha256"), return_index=True, return_inverse=True
    )
    sizes = columns.pop("bytes")[first]
    return ImageTable({**columns, "digest": digest}, digests, sizes, list(rules))


@dataclass(slots=True)
class PairTable:
    """The records of a source as columns, and what was decided. Equal texts have equal numbers or keys.

    Attributes:
        contents: the texts.
        images: the columns of the images.
        columns: those of `_pair_columns`; `image`, the index of the image; and `digest`, that of its digest.
        names: by column, the values that it numbers.
        split: index in `SPLIT_OF`.
        kept: whether the record is kept so far.
        reported: by reason, the records that were kept in spite of it; reasons in the order of decisions.
        rejected: the records that are not kept.
        clusters: by digest, the group of near duplicates that have none.
    """

    contents: SourceContents
    images: ImageTable
    columns: Mapping[str, npt.NDArray[Any]]
    names: Mapping[str, Sequence[Any]]
    split: Integers
    kept: Mask
    reported: dict[str, Mask] = field(default_factory=dict)
    rejected: dict[int, Rejection] = field(default_factory=dict)
    clusters: dict[int, str] = field(default_factory=dict)

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """Return a column."""
        return self.columns[column]

    @property
    def rows(self) -> Integers:
        """The records that are kept so far."""
        return np.flatnonzero(self.kept)

    def by_split(self) -> dict[tuple[str, Split], Integers]:
        """Return the kept records of each domain and split, sorted by these names."""
        rows = self.rows
        found = {}
        domains, splits = self["domain"][rows], self.split[rows]
        for domain in np.unique(domains).tolist():
            for split in np.unique(splits).tolist():
                here = rows[(domains == domain) & (splits == split)]
                if len(here):
                    found[self.names["domain"][domain], SPLIT_OF[split]] = here
        return dict(sorted(found.items()))

    def of_domain(self, domain: str) -> Integers:
        """Return the kept records of a domain."""
        index = self.names["domain"].index(domain)
        return np.flatnonzero(self.kept & (self["domain"] == index))

    def in_source(self, row: int) -> Record:
        """Return a record as the source has it."""
        return self.contents.records[row]

    def reject(self, row: int, reason: str, detail: str) -> None:
        """Reject a record."""
        self.kept[row] = False
        self.rejected[row] = reject(self.in_source(row), reason, detail)

    def apply_policy(
        self, rows: Integers, reason: str, detail: Callable[[int], str], policy: Policy
    ) -> None:
        """Report records if policy or reviewer keep them, and reject the others.

        `detail` explains the reason for one of them.
        """
        keep = np.full(len(rows), policy[reason] == "keep")
        if reason in KEEPABLE:
            keep |= self["reviewed"][rows]
        if keep.any():
            mask = self.reported.setdefault(reason, np.zeros(len(self.kept), bool))
            mask[rows[keep]] = True
        for row in rows[~keep].tolist():
            self.reject(row, reason, detail(row))

    def unit(self, row: int) -> str:
        """Return the unit of a record that stays in one split: the given group, else the records of one image."""
        group = self["group"][row]
        return self.names["group"][group] if group else self.images.name(self["digest"][row])[:16]

    def records(self, rows: Integers) -> Iterator[Record]:
        """Yield these records in this order, each with its image, split, group and reasons."""
        for row, record in zip(rows.tolist(), self.contents.records.take(rows), strict=True):
            image, digest = self["image"][row], int(self["digest"][row])
            sha256 = self.images.name(digest)
            rules = (
                *record.rules,
                *self.images.rule_lists[self.images["rules"][image]],
                *(reason for reason, mask in self.reported.items() if mask[row]),
            )
            yield replace(
                record,
                source=replace(record.source, sha256=sha256),
                width=int(self.images["width"][image]),
                height=int(self.images["height"][image]),
                split=SPLIT_OF[self.split[row]],
                group=record.group or self.clusters.get(digest) or sha256[:16],
                rules=rules,
            )

    def count(self, column: str) -> Counter[Any]:
        """Count the kept records by the values that a column numbers."""
        return _count(self[column][self.rows], self.names[column])

    def rule_counts(self) -> Counter[str]:
        """Count the kept records by applied rule, and by reason in spite of which they are kept."""
        found: Counter[str] = Counter()
        of_images = self.images["rules"][self["image"][self.rows]]
        for counts in (self.count("rules"), _count(of_images, self.images.rule_lists)):
            for rules, rows in counts.items():
                found.update(dict.fromkeys(rules, rows))
        for reason, mask in self.reported.items():
            found[reason] += int(np.count_nonzero(mask & self.kept))
        return +found

    def named_categories(self, rows: Integers | None = None) -> set[tuple[str, str]]:
        """Return domain and category of records, by default of the kept ones that have one."""
        rows = self.rows if rows is None else rows
        columns = np.stack([self["domain"][rows], self["category"][rows]])
        domains, categories = self.names["domain"], self.names["category"]
        found = np.unique(columns, axis=1).T.tolist()
        named = {(domains[domain], categories[category]) for domain, category in found}
        return {(domain, category) for domain, category in named if category}

    def rejections(self) -> list[Rejection]:
        """Return all rejections in source order."""
        positions = self.contents.positions
        found = [(int(positions[row]), rejection) for row, rejection in self.rejected.items()]
        found = sorted([*found, *self.contents.rejections], key=lambda each: each[0])
        return [rejection for _, rejection in found]

    def features(self) -> tuple[Integers, Features]:
        """Return the digests of the images of kept records, sorted, and (N, 14, 14) their features."""
        digests = np.unique(self["digest"][self.rows])
        position = np.full(len(self.images.digests), -1)
        position[digests] = np.arange(len(digests))
        features = np.zeros((len(digests), BAND, BAND), np.int8)
        found = np.zeros(len(digests), bool)
        start = 0
        for batch in self.contents.images.batches():
            here = position[self.images["digest"][start : start + len(batch)]]
            encoded = batch.column("check").field("features").to_pylist()
            seen = [row for row, text in enumerate(encoded) if here[row] >= 0 and text]
            features[here[seen]] = unpack([encoded[row] for row in seen])
            found[here[seen]] = True
            start += len(batch)
        return (digests, features) if found.all() else (digests[found], features[found])


def pair_table(contents: SourceContents) -> PairTable:
    """Return the columns of a source. Nothing is rejected yet."""
    numbered = ("domain", "category", "license", "file", "rules", "group")
    numberings: dict[str, Numbering[Any]] = {name: Numbering() for name in numbered}
    numberings["group"][""] = 0  # no group
    columns = _joined(_pair_columns(batch, numberings) for batch in _batches(contents.records))
    images = image_table(contents.images)
    image = contents.image_of
    split = columns.pop("split")
    columns |= {"image": image, "digest": images["digest"][image]}
    names = {name: list(values) for name, values in numberings.items()}
    return PairTable(contents, images, columns, names, split, np.ones(len(image), bool))


def _pair_columns(
    batch: pa.RecordBatch, numberings: Mapping[str, Numbering[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of some records.

    The ones in `numbers` are numbers of texts. `id`, `caption`, `folded` (which ignores case) and `plain` (which also
    ignores white space) are keys of texts; `length` is that of the caption in characters; `order` and `then_order` are
    the leading 128 bits of the sort key; `reviewed` says whether a reviewer keeps the record.
    """
    texts = {name: batch.column(name).to_pylist() for name in ("id", "domain", "category", "group")}
    source = batch.column("source")
    texts["license"] = source.field("license").to_pylist()
    origins = source.field("origin").to_pylist()
    texts["file"] = [annotation_file(origin.partition(": ")[0]) for origin in origins]
    texts["rules"] = list(map(tuple, batch.column("rules").to_pylist()))
    captions = batch.column("caption").to_pylist()
    order = [sort_key(*each) for each in zip(texts["id"], texts["domain"], strict=True)]
    splits = batch.column("split").to_pylist()
    return {
        **{
            name: np.array([numbering[value] for value in texts[name]], np.int32)
            for name, numbering in numberings.items()
        },
        "id": _keys(texts["id"]),
        "caption": _keys(captions),
        "folded": _keys([caption.casefold() for caption in captions]),
        "plain": _keys(list(map(plain_text, captions))),
        "length": np.array(list(map(len, captions)), np.int32),
        "order": np.array([int.from_bytes(key[:8]) for key in order], np.uint64),
        "then_order": np.array([int.from_bytes(key[8:16]) for key in order], np.uint64),
        "reviewed": np.array([KEPT_IN_REVIEW in rules for rules in texts["rules"]], bool),
        "split": np.array(list(map(SPLIT_OF.index, splits)), np.int8),
    }


def sort_key(id: str, domain: str) -> bytes:
    """Return the sort key of a row: a hash, so that categories are mixed the same way in every build.

    The name of the domain is left out (`fdrd.record.id_in_domain`).
    """
    return hashlib.sha256(id.removeprefix(f"{domain}/").encode()).digest()


def _keys(texts: Sequence[str]) -> Keys:
    return np.array(list(map(text_key, texts)), np.uint64)


def _count(indices: Integers, names: Sequence[T]) -> Counter[T]:
    counts = np.bincount(indices, minlength=len(names)).tolist()
    return Counter({name: count for name, count in zip(names, counts, strict=True) if count})


def _batches(structs: StructTable[Any]) -> Iterator[pa.RecordBatch]:
    """Yield the batches; without any an empty one, which has the columns, too."""
    if len(structs):
        return structs.batches()
    return iter([pa.RecordBatch.from_pylist([], struct_schema(structs.row_type))])


def _joined(parts: Iterator[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Join the columns of several batches."""
    found = list(parts)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
