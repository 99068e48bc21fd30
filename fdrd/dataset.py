"""Read one split of a built dataset: distinct images, distinct captions, and the pairs that connect them.

Rows are memory-mapped from the shards, and images are decoded on request.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fdrd.columns import CATEGORY_NAME, extra_in_schema
from fdrd.connection import hub_or_cache
from fdrd.errors import FdrdError, first_line
from fdrd.images.check import opened_image
from fdrd.images.pixels import upright_rgb
from fdrd.kinds import refuse_other
from fdrd.progress import Progress, silent
from fdrd.record import KINDS, SPLITS, Attribute, Kind, Negative, category_name
from fdrd.storage.manifest import read_manifest
from fdrd.storage.registration import registered_folder, registered_shards
from fdrd.storage.shard_file import PARQUET, DamageError, check_rows, columns_flaw, row_flaws

if TYPE_CHECKING:
    import datasets
    from PIL.Image import Image

Indices = npt.NDArray[np.int64]
Name = str | os.PathLike[str]
"""A folder that `fdrd build` wrote, a registered name, a Hub id, or a `fdrd.Dataset`."""
_BATCH = 64


class MissingSplitError(FdrdError):
    """A dataset has no such split, or no such domain in it. Other errors must not be taken for this one."""


class RetrievalDataset:
    """A read-only view of one split.

    The N rows (image-caption pairs) contain I distinct images and C distinct captions. Images are identified
    by the digest of their bytes, captions by their text. Both are numbered in order of first appearance.

    Attributes:
        name: folder, registered name or Hub id.
        title: name, and which part of the split it is, for tables.
        split: `train`, `validation` or `test`.
        pairs: (N, 2) image number and caption number of each row.
        captions: the C distinct captions.
        image_digests: SHA-256 of each of the I images.
        categories: all fine categories of the dataset, including those that are not in the split.
        row_category: (N,) index into `categories`, -1 for rows without one.
        image_category: (I,) index into `categories`.
        caption_category: (C,) index into `categories`, from the first row with the caption.
        domains: the domains in the split, sorted.
        image_domain: (I,) index into `domains`.
    """

    def __init__(self, rows: datasets.Dataset, *, name: str, split: str, part: str = ""):
        if not len(rows):
            raise MissingSplitError(
                f"{name}: the split {split!r} has no rows; choose another with `split`"
            )
        if CATEGORY_NAME in rows.column_names:  # in Parquet only
            rows = rows.remove_columns(CATEGORY_NAME)
        self._rows = rows
        self.name = name
        self.title = f"{name} ({part})" if part else name
        self._part = part
        self.split = split
        light = rows.select_columns(["caption", "category", "domain", "source"]).with_format(None)
        columns: dict[str, list[Any]] = light[:]
        digests = [source["sha256"] for source in columns["source"]]
        self.image_digests, image_of_row, self._row_of_image = _distinct(digests)
        self.captions, caption_of_row, row_of_caption = _distinct(columns["caption"])
        self.pairs: Indices = np.stack([image_of_row, caption_of_row], axis=1)
        self.categories: list[str] = list(rows.features["category"].names)
        indices = [-1 if index is None else index for index in columns["category"]]
        self.row_category: Indices = np.asarray(indices, dtype=np.int64)
        self.image_category = self.row_category[self._row_of_image]
        self.caption_category = self.row_category[row_of_caption]
        self.domains = sorted(set(columns["domain"]))
        index = {domain: position for position, domain in enumerate(self.domains)}
        row_domain = np.asarray([index[domain] for domain in columns["domain"]], dtype=np.int64)
        self.image_domain = row_domain[self._row_of_image]
        self._checked = np.zeros(len(self.image_digests), dtype=bool)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return (
            f"RetrievalDataset({self.name!r}, {self.split!r}: {len(self)} rows, "
            f"{len(self.image_digests)} images, {len(self.captions)} captions)"
        )

    def require_categories(self, option: str) -> None:
        """Raise `FdrdError` if a row has no category, which `option` needs."""
        missing = int(np.count_nonzero(self.row_category < 0))
        if missing:
            raise FdrdError(
                f"{option} needs categories, and {missing:,} of {len(self):,} rows of {self.split} in "
                f"{self.name} have none; leave it out, or build with `category_from` or `category`"
            )

    def images(self, indices: Iterable[int]) -> list[Image]:
        """Return the images with these numbers, decoded, upright, in RGB; raise `FdrdError` if one is damaged."""
        indices = list(indices)
        images = []
        for index, content in zip(indices, self.files(indices), strict=True):
            with opened_image(content, self._origin(index)) as image:
                images.append(upright_rgb(image))
        return images

    def files(self, indices: Iterable[int]) -> list[bytes]:
        """Return the file bytes of the images with these numbers; raise `FdrdError` if one has another digest."""
        wanted = [int(index) for index in indices]
        images = self._files[[int(self._row_of_image[index]) for index in wanted]]["image"]
        contents = [(image or {}).get("bytes") or b"" for image in images]
        for index, content in zip(wanted, contents, strict=True):
            if self._checked[index]:
                continue
            if hashlib.sha256(content).hexdigest() != self.image_digests[index]:
                raise DamageError(self._origin(index), "the image does not match its digest")
            self._checked[index] = True
        return contents

    def checked_digests(self, indices: Iterable[int]) -> list[str]:
        """Return the digests of the images with these numbers, computed at least once; raise as `files`."""
        wanted = [int(index) for index in indices]
        self.files(index for index in wanted if not self._checked[index])
        return [self.image_digests[index] for index in wanted]

    def check_images(self, progress: Progress = silent) -> None:
        """Compare all images with their digests, so that `fingerprint` holds for their bytes; raise as `files`."""
        wanted = np.flatnonzero(~self._checked)
        for start in range(0, len(wanted), _BATCH):
            self.files(wanted[start : start + _BATCH])
            progress(f"check images of {self.split}", min(start + _BATCH, len(wanted)), len(wanted))

    @cached_property
    def _files(self) -> datasets.Dataset:
        """Column of image files, not decoded."""
        from datasets import Image

        return self._rows.select_columns("image").cast_column("image", Image(decode=False))

    def _origin(self, index: int) -> str:
        row = int(self._row_of_image[index])
        return f"{self.name}: {self._rows.select_columns('id')[row]['id']} in {self.split}"

    def records(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return all columns of these rows except the image, with the category as a name."""
        columns = [name for name in self._rows.column_names if name != "image"]
        table = self._rows.select_columns(columns).with_format(None)[list(rows)]
        records = [
            dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)
        ]
        for record in records:
            record["category"] = category_name(record["category"], self.categories)
        return records

    @property
    def extra_types(self) -> dict[str, str]:
        """The types of the columns that fdrd does not know, by name."""
        return extra_in_schema(self._rows.features.arrow_schema)

    @cached_property
    def ids(self) -> list[str]:
        """Record id of each row."""
        return list(self._rows["id"])

    @cached_property
    def negatives(self) -> list[tuple[Negative, ...]]:
        """Fixed hard negatives of each row."""
        return [tuple(Negative(**negative) for negative in row) for row in self._rows["negatives"]]

    @cached_property
    def _partners(self) -> list[list[dict[str, Any]]]:
        """The natural pairs of each row as its shard has them."""
        return list(self._rows["natural_pairs"])

    @cached_property
    def natural_pairs(self) -> dict[Kind, Indices]:
        """(P, 2) the rows of the natural pairs of each kind; those with only one record in this view are left out."""
        row_of = {id: row for row, id in enumerate(self.ids)}
        pairs: dict[Kind, list[tuple[int, int]]] = {kind: [] for kind in KINDS}
        for row, partners in enumerate(self._partners):
            for partner in partners:
                if (other := row_of.get(partner["id"], -1)) > row:
                    pairs[partner["kind"]].append((row, other))
        return {kind: np.array(rows, np.int64).reshape(-1, 2) for kind, rows in pairs.items()}

    @cached_property
    def attributes(self) -> list[tuple[Attribute, ...]]:
        """Attribute spans of the caption of each row."""
        return [
            tuple(Attribute(**attribute) for attribute in row) for row in self._rows["attributes"]
        ]

    @cached_property
    def meta_categories(self) -> list[str]:
        """Meta-category of each row."""
        return list(self._rows["meta_category"])

    @cached_property
    def fingerprint(self) -> str:
        """Digest of images, captions, categories, negatives and natural pairs of all rows, in order."""
        return rows_digest(
            (
                self.image_digests[image],
                self.captions[caption],
                category_name(self.row_category[row], self.categories),
                [negative.caption for negative in self.negatives[row]],
                [(each["kind"], each["id"]) for each in self._partners[row]],
                self.domains[self.image_domain[image]],
            )
            for row, (image, caption) in enumerate(self.pairs)
        )

    def select(self, rows: Sequence[int] | Indices, part: str = "") -> RetrievalDataset:
        """Return a view of these rows only, in this order; `part` says in tables which rows they are."""
        chosen = self._rows.select([int(row) for row in rows])
        return RetrievalDataset(chosen, name=self.name, split=self.split, part=part or self._part)

    def joined(self, other: RetrievalDataset) -> RetrievalDataset:
        """Return a view of the rows of both, under the name of this one, e.g. to train on two splits."""
        from datasets import concatenate_datasets

        rows = concatenate_datasets([self._rows, other._rows])
        return RetrievalDataset(rows, name=self.name, split=self.split, part=self._part)

    def of_domain(self, domain: str) -> RetrievalDataset:
        """Return a view of the rows of one domain; raise `FdrdError` if the split has no such domain."""
        if domain not in self.domains:
            raise MissingSplitError(
                f"{self.name}: no domain {domain!r} in {self.split}; it has {', '.join(self.domains)}"
            )
        wanted = self.image_domain[self.pairs[:, 0]] == self.domains.index(domain)
        return self.select(np.flatnonzero(wanted))


RowTexts = tuple[str, str, str, list[str], list[tuple[str, str]], str]
"""Image digest, caption, category, captions of negatives, natural pairs (kind and id), and domain."""


def rows_digest(rows: Iterable[RowTexts]) -> str:
    """Return the digest of rows in order. The name of a domain does not matter."""
    digest = hashlib.sha256()
    for *row, partners, domain in rows:
        plain = [(kind, id.removeprefix(f"{domain}/")) for kind, id in partners]
        digest.update(json.dumps([*row, plain] if plain else row, ensure_ascii=False).encode())
    return digest.hexdigest()


def load_view(name: Name, split: str, domain: str | None = None) -> RetrievalDataset:
    """Load one split of a dataset, or one domain of it, as images, captions and pairs. Raise as `load_rows`."""
    return RetrievalDataset(load_rows(name, split, domain), name=os.fspath(name), split=split)


def load_rows(name: Name, split: str | None = None, domain: str | None = None) -> Any:
    """Return rows as `datasets.load_dataset` does, but look on this machine before asking the Hub.

    Without `split` return a `datasets.DatasetDict`. Raise `FdrdError` if there is no such dataset, split or domain, or
    one of its shards is damaged.
    """
    name = os.fspath(name)
    if split not in (None, *SPLITS):
        raise FdrdError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}")
    shards = _local_shards(name, domain, split)
    if shards is None:
        return _hub_rows(name, split, domain)
    if not (shards.get(split) if split else shards):
        part = " of ".join(part for part in (split, domain) if part)
        others = (_local_shards(name, domain, None) or {}) if split else {}
        has = f"choose {' or '.join(others)} with `split`; " if others else ""
        raise MissingSplitError(
            f"{name} has no {part}; {has}`fdrd stats {name}` lists its contents"
        )
    if split:
        return _rows(shards[split])
    from datasets import DatasetDict  # slow, so mistakes are found before

    return DatasetDict({each: _rows(files) for each, files in shards.items()})


def _hub_rows(name: str, split: str | None, domain: str | None) -> Any:
    with hub_or_cache() as connected:
        import datasets

        try:
            found = datasets.load_dataset(name, domain or "default", split=split)
            _check_hub_rows(found, name)
            return found
        except FdrdError:
            raise
        except Exception as error:  # the files of a stranger make `datasets` raise anything
            if split and f"Unknown split {split!r}" in str(error).replace('"', "'"):
                raise MissingSplitError(f"{name} has no {split}") from error
            reason = f"not found on the Hub ({first_line(error)})"
            raise FdrdError(
                f"no dataset {name!r}: not a folder, not built on this machine, and "
                f"{reason if connected else 'the Hub cannot be reached'}; build it with `fdrd build`, or "
                f"name another"
            ) from error


def _check_hub_rows(found: Any, name: str) -> None:
    """Raise `DamageError` for what would break a reader of rows of the Hub."""
    for rows in found.values() if isinstance(found, dict) else [found]:
        names = getattr(rows.features.get("category"), "names", [])
        if flaw := columns_flaw(rows.features.arrow_schema, names):
            raise DamageError(name, flaw)
        first = 0
        for batch in rows.data.to_batches():
            if flaws := row_flaws(batch, len(names)):
                raise DamageError(f"{name}: row {first + flaws[0].row}", flaws[0].what)
            first += batch.num_rows


def _local_shards(name: str, domain: str | None, split: str | None) -> dict[str, list[Path]] | None:
    """Return the checked shards of each split, or of one, of a folder or a registered name; None if it is neither."""
    folder = Path(name)
    shards: dict[str, list[Path]] = {}
    if folder.is_dir():
        manifest = read_manifest(folder)
        for shard in manifest.shards:
            if domain in (None, shard.domain) and split in (None, shard.split):
                path = folder / shard.path
                check_rows(path, shard, manifest)
                shards.setdefault(shard.split, []).append(path)
        return shards
    refuse_other(folder, "a dataset")
    found = registered_shards(name, domain or "default")
    shards = {each: found[each] for each in SPLITS if each in found and split in (None, each)}
    for files in shards.values():
        for file in files:
            check_rows(file)
    return shards if shards or registered_folder(name) else None


def _rows(shards: Sequence[Path]) -> datasets.Dataset:
    from datasets import Dataset, concatenate_datasets
    from datasets.exceptions import DatasetGenerationError

    if shards[0].suffix != PARQUET:
        return concatenate_datasets([Dataset.from_file(str(shard)) for shard in shards])
    try:
        return Dataset.from_parquet([str(shard) for shard in shards])
    except DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno:  # e.g. a full disk
            raise cause from None
        reason = first_line(cause or error)
        raise DamageError(shards[0].parent, f"a shard cannot be read ({reason})") from error


def load_splits(
    name: Name, split: str | None = None, domain: str | None = None
) -> list[RetrievalDataset]:
    """Load all splits of a dataset, or only one, as `load_view`."""
    if split is not None:
        return [load_view(name, split, domain)]
    splits = load_rows(name, None, domain)
    found = [each for each in SPLITS if len(splits.get(each) or ())]
    if not found:
        raise MissingSplitError(f"{name} has no rows; `fdrd stats {name}` lists its contents")
    return [RetrievalDataset(splits[each], name=os.fspath(name), split=each) for each in found]


def _distinct(values: Sequence[str]) -> tuple[list[str], Indices, Indices]:
    """Return distinct values in order of appearance, the number of each row's value, and first rows."""
    index = {value: position for position, value in enumerate(dict.fromkeys(values))}
    rows = np.array([index[value] for value in values], dtype=np.int64)
    return list(index), rows, np.unique(rows, return_index=True)[1]
