"""Counts and lengths of a built dataset, by domain and split, read from its shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pyarrow as pa

from fdrd.storage.manifest import read_manifest


@dataclass(frozen=True, slots=True)
class SplitStats:
    """What one split of one domain holds. Words are runs between white space."""

    domain: str
    split: str
    pairs: int
    images: int
    captions: int
    """Distinct ones."""
    categories: int
    words_median: float
    words_max: int
    negatives_per_pair: float
    attributes_per_pair: float
    shared_captions: int
    """Rows whose caption stands on another row of the split as well."""
    tokens_median: float | None = None
    """By the tokenizer that the manifest names; None where the build had none."""
    tokens_max: int | None = None
    over_limit: int | None = None
    """Rows whose caption has more tokens than the text tower reads."""


def stats(folder: Path) -> list[SplitStats]:
    """The counts of every split, in the order of the manifest.

    Raises:
        FdrdError: there is no valid manifest.
    """
    manifest = read_manifest(folder)
    found = []
    for domain, splits in manifest["splits"].items():
        for split in splits:
            paths = [
                folder / shard["path"]
                for shard in manifest["shards"]
                if (shard["domain"], shard["split"]) == (domain, split)
            ]
            tokens = (manifest["tokens"] or {"splits": {}})["splits"].get(domain, {}).get(split, {})
            found.append(
                replace(
                    _of_split(domain, split, paths),
                    tokens_median=tokens.get("median"),
                    tokens_max=tokens.get("max"),
                    over_limit=tokens.get("over"),
                )
            )
    return found


def _of_split(domain: str, split: str, paths: list[Path]) -> SplitStats:
    captions: Counter[str] = Counter()
    images: set[str] = set()
    categories: set[int] = set()
    words: list[int] = []
    negatives = attributes = 0
    for path in paths:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                captions.update(batch["caption"].to_pylist())
                categories.update(batch["category"].to_pylist())
                images.update(source["sha256"] for source in batch["source"].to_pylist())
                words += [len(caption.split()) for caption in batch["caption"].to_pylist()]
                negatives += sum(len(row) for row in batch["negatives"].to_pylist())
                attributes += sum(len(row) for row in batch["attributes"].to_pylist())
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
        shared_captions=sum(count for count in captions.values() if count > 1),
    )
