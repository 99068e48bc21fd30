"""Count rows and measure captions of a built dataset, by domain and split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fdrd.columns import ExtraTypes
from fdrd.record import KINDS
from fdrd.storage.manifest import TokenCounts, read_manifest
from fdrd.storage.shard_file import read_checked

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """Values of an extra column in one split. `low` and `high` are None for texts and booleans."""

    name: str
    type: str
    distinct: int
    nulls: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class SplitStats:
    """Counts of one split of one domain. Words are separated by white space."""

    domain: str
    split: str
    pairs: int
    images: int
    captions: int
    """distinct captions"""
    categories: int
    words_median: float
    words_max: int
    negatives_per_pair: float
    attributes_per_pair: float
    natural_pairs: dict[str, int]
    """by kind"""
    shared_captions: int
    """rows whose caption another row of the split also has"""
    tokens_median: float | None = None
    """by the tokenizer that the manifest names; None if the build had no tokenizer"""
    tokens_max: int | None = None
    over_limit: int | None = None
    """rows whose caption has more tokens than the text tower reads"""
    columns: tuple[ColumnStats, ...] = ()
    """columns of the source that fdrd does not know"""


def stats(folder: str | os.PathLike[str]) -> list[SplitStats]:
    """Return the counts of every split of the dataset in `folder`, in the order of the manifest.

    Raise `FdrdError` if there is no valid manifest, or a shard is damaged.
    """
    manifest = read_manifest(Path(folder))
    tokens = manifest.tokens.splits if manifest.tokens else {}
    found = []
    for domain, splits in manifest.splits.items():
        for split in splits:
            batches = (
                batch
                for shard in manifest.shards
                if (shard.domain, shard.split) == (domain, split)
                for batch in read_checked(Path(folder, shard.path), shard, manifest, images=False)
            )
            lengths = tokens.get(domain, {}).get(split)
            found.append(_count(domain, split, batches, manifest.columns, lengths))
    return found


def _count(
    domain: str,
    split: str,
    batches: Iterable[pa.RecordBatch],
    extra: ExtraTypes,
    tokens: TokenCounts | None,
) -> SplitStats:
    captions: Counter[str] = Counter()
    images: set[str] = set()
    categories: set[int] = set()
    words: list[int] = []
    values: dict[str, Counter[Any]] = {name: Counter() for name in extra}
    partners: Counter[str] = Counter()
    negatives = attributes = 0
    for batch in batches:
        texts = batch["caption"].to_pylist()
        captions.update(texts)
        words += [len(text.split()) for text in texts]
        categories.update(batch["category"].drop_null().to_pylist())
        images.update(source["sha256"] for source in batch["source"].to_pylist())
        negatives += sum(len(row) for row in batch["negatives"].to_pylist())
        attributes += sum(len(row) for row in batch["attributes"].to_pylist())
        partners.update(each["kind"] for row in batch["natural_pairs"].to_pylist() for each in row)
        for name, counted in values.items():
            counted.update(batch[name].to_pylist())
    pairs = captions.total()
    return SplitStats(
        domain=domain,
        split=split,
        pairs=pairs,
        images=len(images),
        captions=len(captions),
        categories=len(categories),
        words_median=median(words),
        words_max=max(words),
        negatives_per_pair=negatives / pairs,
        attributes_per_pair=attributes / pairs,
        natural_pairs={kind: partners[kind] // 2 for kind in KINDS},
        shared_captions=sum(count for count in captions.values() if count > 1),
        tokens_median=tokens.median if tokens else None,
        tokens_max=tokens.max if tokens else None,
        over_limit=tokens.over if tokens else None,
        columns=tuple(_column(name, extra[name], counted) for name, counted in values.items()),
    )


def _column(name: str, dtype: str, values: Counter[Any]) -> ColumnStats:
    nulls = values.pop(None, 0)
    bounds = (min(values), max(values)) if values and dtype in ("int64", "float64") else ()
    return ColumnStats(name, dtype, len(values), nulls, *bounds)
