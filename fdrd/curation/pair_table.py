"""A source as it was read, its pairs as columns, and what was decided about each pair.

A build has millions of pairs. Their records and the checks of their images are in Arrow files, and a decision reads
columns. It looks up a record only to explain a rejection.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from fdrd.files.struct_table import StructTable, StructWriter
from fdrd.images.check import ImageCheck
from fdrd.images.perceptual import BAND, Features, unpack, visible_flaws
from fdrd.negatives.given import plain as plain_text
from fdrd.reasons import KEEPABLE, KEPT_IN_REVIEW, Policy, Rejection, reject
from fdrd.record import SPLITS, ImageRef, Record, Split
from fdrd.text.normalize import text_key

Integers = npt.NDArray[np.signedinteger[Any]]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]
Item = Record | Rejection
T = TypeVar("T")

ANNOTATIONS = frozenset({".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".tar"})
SPLIT_OF: tuple[Split, ...] = ("", *SPLITS)  # the split of each number in the column `split`


@lru_cache(maxsize=65_536)
def annotation_file(file: str) -> str:
    """Return the annotation file that an item is counted under, or one heading for all loose files.

    >>> annotation_file("birds/wren.txt")
    '(images and their text files)'
    """
    if PurePosixPath(file).suffix.lower() in ANNOTATIONS:
        return file
    return "(images and their text files)"


class CheckedImage(Struct, frozen=True, gc=False):
    """An image and its check."""

    image: ImageRef
    check: ImageCheck


@dataclass(frozen=True, slots=True)
class SourceContents:
    """A source before curation: records in source order, rejections with their positions, and each image once.

    `image_of` has the index of the image of each record, and `positions` its position among all items. `root` is the
    folder of the images.
    """

    root: str
    records: StructTable[Record]
    image_of: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int64]
    rejections: list[tuple[int, Rejection]]
    images: StructTable[CheckedImage]

    def items(self) -> Iterator[tuple[Item, int]]:
        """Yield records, each with the index of its image, and rejections, in source order."""
        records = zip(self.records, self.image_of.tolist(), strict=True)
        position = 0
        for rejected, rejection in self.rejections:
            while position < rejected:
                yield next(records)
                position += 1
            yield rejection, -1
            position += 1
        yield from records


class SourceWriter:
    """Takes the items of a source in order. A context manager: it removes its file at the end."""

    def __init__(self, file: Path):
        self._records = StructWriter(file, Record)
        self._image_of, self._positions = array("i"), array("q")
        self._rejections: list[tuple[int, Rejection]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._records.__exit__(*error)

    def add(self, item: Item, image: int = -1) -> None:
        """Add the next item; `image` is the index of the image of a record."""
        position = len(self._positions) + len(self._rejections)
        if isinstance(item, Rejection):
            self._rejections.append((position, item))
            return
        self._positions.append(position)
        self._image_of.append(image)
        self._records.append(item)

    def finish(self, root: str, images: StructTable[CheckedImage]) -> SourceContents:
        """Return what was written."""
        image_of, positions = np.array(self._image_of), np.array(self._positions)
        records = self._records.finish()
        return SourceContents(root, records, image_of, positions, self._rejections, images)


class Numbering(dict[T, int]):
    """Numbers values from 0 as they come."""

    def __missing__(self, value: T) -> int:
        self[value] = index = len(self)
        return index


@dataclass(frozen=True, slots=True)
class ImageTable:
    """The images of a source: the columns of `_image_columns`, and `digest`, an index in `digests`."""

    columns: Columns
    digests: npt.NDArray[np.bytes_]  # distinct SHA-256 digests, sorted
    sizes: Integers  # by digest, the size of the file in bytes
    rule_lists: Sequence[tuple[str, ...]]  # the lists of rules that the column `rules` numbers

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        return self.columns[column]

    def name(self, digest: int) -> str:
        """Return a digest by its index."""
        return str(self.digests[digest].decode())


def _image_columns(batch: pa.RecordBatch, rules: Numbering[tuple[str, ...]]) -> Columns:
    """Return the columns of some checked images; `flaw` is an index in `FLAWS`."""
    checks = batch.column("check")
    names = ("sha256", "reason", "rules", "features", "bytes", "width", "height")
    values = {name: checks.field(name).to_pylist() for name in names}
    features = values["features"]
    seen = [row for row, encoded in enumerate(features) if encoded]
    flaw = np.zeros(len(features), np.int8)
    flaw[seen] = visible_flaws(unpack([features[row] for row in seen]))
    return {
        "sha256": np.array(values["sha256"], "S64"),
        **{name: np.array(values[name], np.int64) for name in ("bytes", "width", "height")},
        "rules": np.array([rules[tuple(each)] for each in values["rules"]], np.int32),
        "flaw": flaw,
        "bad": np.array([bool(reason) for reason in values["reason"]], bool),
    }


def _image_table(images: StructTable[CheckedImage]) -> ImageTable:
    rules: Numbering[tuple[str, ...]] = Numbering()
    columns = _joined(_image_columns(batch, rules) for batch in images.batches())
    digests, first, digest = np.unique(
        columns.pop("sha256"), return_index=True, return_inverse=True
    )
    sizes = columns.pop("bytes")[first]
    return ImageTable({**columns, "digest": digest}, digests, sizes, list(rules))


@dataclass(slots=True)
class PairTable:
    """The records of a source as columns, and what was decided. Equal texts have equal numbers or keys.

    The columns are those of `_pair_columns`; `image`, the index of the image; and `digest`, that of its digest.
    """

    contents: SourceContents
    images: ImageTable
    columns: Columns
    names: Mapping[str, Sequence[Any]]  # by column, the values that it numbers
    split: Integers  # index in `SPLIT_OF`
    kept: Mask  # whether the record is kept so far
    reported: dict[str, Mask] = field(default_factory=dict)
    """by reason, the records that were kept in spite of it; reasons in the order of decisions"""
    rejected: dict[int, Rejection] = field(default_factory=dict)
    clusters: dict[int, str] = field(default_factory=dict)
    """by digest, the group of near duplicates that have none"""

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
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
        """Report records if policy or reviewer keep them, and reject the others. `detail` explains one of them."""
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
        return {
            (domains[domain], categories[category])
            for domain, category in np.unique(columns, axis=1).T.tolist()
            if categories[category]
        }

    def rejections(self) -> list[Rejection]:
        """Return all rejections in source order."""
        positions = self.contents.positions
        rejected = [(int(positions[row]), each) for row, each in self.rejected.items()]
        rejected += self.contents.rejections
        return [rejection for _, rejection in sorted(rejected, key=lambda each: each[0])]

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
    columns = _joined(_pair_columns(batch, numberings) for batch in contents.records.batches())
    images = _image_table(contents.images)
    image = contents.image_of
    split = columns.pop("split")
    columns |= {"image": image, "digest": images["digest"][image]}
    names = {name: list(values) for name, values in numberings.items()}
    return PairTable(contents, images, columns, names, split, np.ones(len(image), bool))


def _pair_columns(batch: pa.RecordBatch, numberings: Mapping[str, Numbering[Any]]) -> Columns:
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
        "folded": _keys(map(str.casefold, captions)),
        "plain": _keys(map(plain_text, captions)),
        "length": np.array(list(map(len, captions)), np.int32),
        "order": np.array([int.from_bytes(key[:8]) for key in order], np.uint64),
        "then_order": np.array([int.from_bytes(key[8:16]) for key in order], np.uint64),
        "reviewed": np.array([KEPT_IN_REVIEW in rules for rules in texts["rules"]], bool),
        "split": np.array(list(map(SPLIT_OF.index, splits)), np.int8),
    }


def sort_key(id: str, domain: str) -> bytes:
    """Return the sort key of a row: a hash of `record.id_in_domain`, which mixes categories alike in every build."""
    return hashlib.sha256(id.removeprefix(f"{domain}/").encode()).digest()


def _keys(texts: Iterable[str]) -> Keys:
    return np.fromiter(map(text_key, texts), np.uint64)


def _count(indices: Integers, names: Sequence[T]) -> Counter[T]:
    counts = np.bincount(indices, minlength=len(names)).tolist()
    return Counter({name: count for name, count in zip(names, counts, strict=True) if count})


def _joined(parts: Iterator[Columns]) -> Columns:
    columns = list(parts)
    return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
