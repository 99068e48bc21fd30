"""A dataset in Python: its folder, its counts, and its splits as tables of the package `datasets`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import msgspec

from fdrd.dataset import Name, RetrievalDataset, load_rows, load_view
from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.record import SPLITS
from fdrd.storage.manifest import Manifest, read_manifest
from fdrd.storage.registration import registered_folder
from fdrd.text.markup import visible

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A dataset; `ds["test"]` is a `datasets.Dataset`, read when it is first asked for.

    Functions that take a dataset take this object, a path or a name.

    Attributes:
        name: what it was loaded by: folder, registered name or Hub id.
        path: its folder; None if it is on the Hub.
        manifest: content of its `manifest.json`; None if it is on the Hub.
    """

    name: str
    path: Path | None
    manifest: Manifest | None

    @property
    def splits(self) -> list[str]:
        """Names of its splits."""
        return list(self.counts)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of image-caption pairs of each split."""
        if self.manifest is None:
            return {split: len(rows) for split, rows in self._loaded.items()}
        found = Counter[str]()
        for splits in self.manifest.splits.values():
            found.update({split: counts.pairs for split, counts in splits.items()})
        return {split: found[split] for split in SPLITS if split in found}

    @cached_property
    def rejected(self) -> list[Rejection]:
        """Rejected records: file, key, reason and detail of each. Raise `FdrdError` if the list is damaged."""
        if self.path is None:
            return []
        file = self.path / "rejected.jsonl"
        try:
            return msgspec.json.Decoder(Rejection).decode_lines(file.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise FdrdError(f"{file} cannot be read ({error}); build the dataset again") from error

    def __getitem__(self, split: str) -> datasets.Dataset:
        """Return a split; raise `FdrdError` if there is no such split, or one of its shards is damaged."""
        if split not in self._loaded:
            self._loaded[split] = load_rows(self.name, split)
        return self._loaded[split]

    @cached_property
    def _loaded(self) -> dict[str, Any]:
        return {}

    def view(self, split: str, domain: str | None = None) -> RetrievalDataset:
        """Return a split as the benchmark reads it: distinct images, distinct captions, and pairs of their indices.

        Raise `FdrdError` if there is no such split or domain, or one of its shards is damaged.
        """
        return load_view(self.name, split, domain)

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __contains__(self, split: object) -> bool:
        return split in self.counts

    def __fspath__(self) -> str:
        return self.name

    def _ipython_key_completions_(self) -> list[str]:
        return self.splits

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {split}" for split, count in self.counts.items())
        rejected = f"; {self.manifest.records.rejected:,} rejected" if self.manifest else ""
        return f"{type(self).__name__}({visible(self.name)!r}: {counts} pairs{rejected})"

    def _repr_html_(self) -> str:
        head = "<tr><th>split</th><th>image-caption pairs</th></tr>"
        rows = (f"<tr><td>{s}</td><td>{count:,}</td></tr>" for s, count in self.counts.items())
        caption = f"<caption>{escape(visible(self.name))}</caption>"
        return f"<table>{caption}{head}{''.join(rows)}</table>"


@overload
def load(name: Name) -> Dataset: ...


@overload
def load(name: Name, split: str, domain: str | None = None) -> datasets.Dataset: ...


def load(name: Name, split: str | None = None, domain: str | None = None) -> Any:
    """Load a dataset, or one of its splits.

    This machine is searched before the Hub.

    Args:
        name: folder that `fdrd build` wrote, registered name, or Hub id.
        split: `train`, `validation` or `test`.
        domain: with `split`, load only this domain.

    Returns:
        A `Dataset`, or with `split` a `datasets.Dataset`.

    Raises:
        FdrdError: there is no such dataset, split or domain, or one of its shards is damaged.
    """
    if split is not None:
        return load_rows(name, split, domain)
    if domain is not None:
        raise FdrdError("`domain` selects rows of a split; give `split`, too")
    text = os.fspath(name)
    folder = Path(text) if Path(text).is_dir() else registered_folder(text)
    if folder is not None:
        return Dataset(text, folder, read_manifest(folder))
    found = Dataset(text, None, None)
    found._loaded.update(load_rows(text))  # so that a wrong name is an error now
    return found
