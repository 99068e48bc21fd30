"""Count the rows of a shard for card and audit: while its rows are made, or from the shard of an earlier run."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from msgspec.structs import replace

from fdrd.card.summary import Summary
from fdrd.checks.audit_records import named_records
from fdrd.checks.tally import KeySet, Tally, TrueTexts, true_key
from fdrd.negatives import Catalog
from fdrd.record import Record
from fdrd.storage.manifest_types import Manifest, Shard
from fdrd.storage.rows import RowsTask, make_rows
from fdrd.storage.shard_file import read_batches

TrueCaptions = Mapping[str, KeySet]
"""By domain, the keys of its normalized captions (`fdrd.checks.tally.true_captions`)."""


@dataclass(slots=True)
class Counts:
    """What card and audit say about some rows of one domain."""

    summary: Summary
    tally: Tally = field(default_factory=Tally)

    def count(self, record: Record, true: KeySet) -> None:
        """Count one row; `true` has the captions of its domain."""
        self.summary.count(record)
        self.tally.count(record, true)

    def add(self, other: Counts) -> None:
        """Add the counts of other rows of the domain."""
        self.summary.add(other.summary)
        self.tally.add(other.tally)


CountedRows = tuple[pa.RecordBatch, Counter[str], Counts]
"""Rows, the rules of `make_rows`, and the counts of the rows."""


def make_counted(
    task: RowsTask, catalogs: Mapping[str, Catalog], true: TrueCaptions, of_images: TrueTexts
) -> CountedRows:
    """Return what `make_rows` returns, and the counts of the rows."""
    counts = Counts(Summary(task.domain))
    rows, rules = make_rows(
        task, catalogs, of_images.of, lambda record: counts.count(record, true[task.domain])
    )
    return rows, rules, counts


def count_shard(task: tuple[str, Shard], manifest: Manifest, true: TrueCaptions) -> Counts:
    """Read a shard, given by folder and manifest entry, and return its counts."""
    folder, shard = task
    counts = Counts(Summary(shard.domain))
    for record in named_records(Path(folder), replace(manifest, shards=[shard])):
        counts.count(record, true[shard.domain])
    return counts


def read_true_captions(path: str) -> array[int]:
    """Return the keys of the captions in a shard."""
    batches = read_batches(Path(path), images=False)
    captions = (text for batch in batches for text in batch["caption"].to_pylist())
    return array("Q", map(true_key, captions))
