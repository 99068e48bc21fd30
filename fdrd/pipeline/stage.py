"""Fill the stage folder with the shards of a build: reuse intact ones, and write the others."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdrd.build_config import BuildConfig
from fdrd.card.summary import Summary
from fdrd.checks.tally import KeySet, TrueTexts, image_key, true_key
from fdrd.columns import CATEGORY_NAME, ExtraTypes, arrow_schema, extra_types
from fdrd.curation.pair_table import PairTable
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.files.struct_file import Selection, StructFile
from fdrd.negatives import Catalog
from fdrd.negatives.annotate import AnnotateConfig
from fdrd.negatives.catalog import catalogs_by_domain
from fdrd.pipeline.counts import Counts, Made, make_counted
from fdrd.progress import Progress
from fdrd.record import Labels, class_labels
from fdrd.storage import publish, resume
from fdrd.storage.json_rows import JsonRow, RowsTask, ShardRow
from fdrd.storage.manifest import library_versions
from fdrd.storage.shard_file import PARQUET
from fdrd.storage.shards import (
    ShardPlan,
    ShardTask,
    add_to_key,
    plan_shards,
    start_key,
    write_shard,
)

ROWS = 256
"""Rows per task: few, so that no worker is left with much at the end."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The shards of a build: their manifest entries, sorted by path, and the counts of newly written ones.

    `extra` are the extra columns of the shards.
    """

    shards: list[dict[str, Any]]
    counted: dict[str, Counts]
    extra: ExtraTypes


def stage_shards(
    out: Path,
    pairs: PairTable,
    config: BuildConfig,
    engine: Engine,
    progress: Progress,
    true_negatives: Mapping[str, tuple[str, ...]] | None = None,
) -> Staged:
    """Stage all shards of the records. Shards with an unchanged key are reused from an earlier run.

    Args:
        out: folder of the dataset.
        pairs: the kept ones are written.
        config: the options.
        engine: makes the rows, and writes the shards.
        progress: called when some rows of a shard are made.
        true_negatives: by image digest, negatives that reviewers found to be true.
    """
    stage = publish.stage_folder(out)
    (stage / "data").mkdir(parents=True, exist_ok=True)
    labels = class_labels(pairs.named_categories())
    extra = extra_types(pairs[row] for row in pairs.rows.tolist())
    schema = arrow_schema(sorted(labels.values()), extra).serialize().to_pybytes()
    progress("preparing negatives", 0, 1)
    of_domain = {domain: pairs.of_domain(domain) for domain in pairs.domains}
    records = pairs.contents.records.shared()
    catalogs = catalogs_by_domain(
        {domain: Selection(records, found) for domain, found in of_domain.items()}, engine
    )
    progress("preparing negatives", 1, 1)
    annotating = AnnotateConfig(config.seed, config.negatives, config.attribute_negatives)
    settings: list[Any] = [asdict(annotating), library_versions()]
    settings.append(hashlib.sha256(schema).hexdigest())
    if true_negatives:  # they change negatives, so they are part of every key
        settings.append(sorted(true_negatives.items()))

    true = {domain: KeySet(pairs.plain[of_domain[domain]]) for domain in catalogs}
    of_images = true_texts(pairs, true_negatives or {})
    plans = plan_shards(pairs, config.shard_bytes, config.format)
    # Large shards first, so that little remains to be written when all rows are made.
    plans.sort(key=lambda plan: -len(plan.rows))
    writing = _Writing(
        pairs, labels, schema, extra, annotating, settings, catalogs, stage,
        resume.reusable_shards(out), progress,
    )  # fmt: skip
    work = publish.work_folder(out)
    with (
        StructFile(work / "rows.partial", ShardRow) as rows,
        StructFile(work / "json_rows.partial", JsonRow) as json_rows,
        closing(
            engine.run(make_counted, writing.rows_tasks(plans, rows), catalogs, true, of_images)
        ) as made,
        closing(engine.run(write_shard, writing.shard_tasks(made, json_rows), ahead=1)) as written,
    ):
        for entry in written:
            _check_visible(stage / entry["path"])
            resume.record_shard(out, entry)
            writing.entries.append(entry)
    publish.remove_others(stage, {entry["path"] for entry in writing.entries})
    entries = sorted(writing.entries, key=lambda entry: str(entry["path"]))
    return Staged(entries, writing.counted, extra)


@dataclass(frozen=True, slots=True)
class _Writing:
    """What the shards of a build share, and what was done for them.

    Attributes:
        pairs: the kept ones are written.
        labels: class labels.
        schema: serialized Arrow schema.
        extra: extra columns of the shards.
        annotating: which negatives to draw.
        settings: all but plan, catalog and records that determines the bytes of a shard.
        catalogs: by domain.
        stage: the stage folder.
        reusable: by key, the folder and the manifest entry of each shard of an earlier run.
        progress: called when rows were made.
        begun: the shards whose rows are being made.
        entries: manifest entries of reused and written shards.
        counted: counts of the shards whose rows were made.
    """

    pairs: PairTable
    labels: Labels
    schema: bytes
    extra: ExtraTypes
    annotating: AnnotateConfig
    settings: list[Any]
    catalogs: Mapping[str, Catalog]
    stage: Path
    reusable: Mapping[str, tuple[Path, dict[str, Any]]]
    progress: Progress
    begun: deque[_Begun] = field(default_factory=deque)
    entries: list[dict[str, Any]] = field(default_factory=list)
    counted: dict[str, Counts] = field(default_factory=dict)

    def rows_tasks(
        self, plans: Iterable[ShardPlan], rows: StructFile[ShardRow]
    ) -> Iterator[RowsTask]:
        """Yield small tasks for the rows of the shards that cannot be reused."""
        for plan in plans:
            named = plan.path.endswith(PARQUET)
            columns = (CATEGORY_NAME,) if named else ()
            digest = start_key(plan, self.settings, self.catalogs[plan.domain].digest, *columns)
            start = len(rows)
            for row in _shard_rows(self.pairs, plan):
                add_to_key(digest, row.record)
                rows.append(row)
            key = digest.hexdigest()
            if key in self.reusable:
                earlier, entry = self.reusable[key]
                if earlier != self.stage:
                    publish.link_or_copy(earlier / plan.path, self.stage / plan.path)
                self.entries.append(entry)
                continue
            rows.sync()
            self.begun.append(_Begun(plan, key, Counts(Summary(plan.domain))))
            for first in range(start, len(rows), ROWS):
                some = rows.range(first, min(first + ROWS, len(rows)))
                root = self.pairs.contents.root
                yield RowsTask(
                    plan.domain, some, root, self.labels, named, self.annotating, self.extra
                )

    def shard_tasks(self, made: Iterable[Made], rows: StructFile[JsonRow]) -> Iterator[ShardTask]:
        """Yield a task for each shard when all of its rows are made."""
        for some, rules, counts in made:
            shard, plan = self.begun[0], self.begun[0].plan
            for row in some:
                rows.append(row)
            shard.add(len(some), rules, counts)
            reused = sum(each["rows"] for each in self.entries if each["path"] not in self.counted)
            self.progress("writing shards", reused + len(rows), len(self.pairs.rows))
            if shard.rows < len(plan.rows):
                continue
            self.begun.popleft()
            self.counted[plan.path] = shard.counts
            rows.sync()
            yield ShardTask(
                plan.path, plan.domain, plan.split, rows.range(len(rows) - shard.rows, len(rows)),
                shard.rules, shard.key, str(self.stage.absolute()), self.schema,
            )  # fmt: skip


@dataclass(slots=True)
class _Begun:
    """A shard whose rows are being made, with the counts of those that are."""

    plan: ShardPlan
    key: str
    counts: Counts
    rules: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def add(self, rows: int, rules: Counter[str], counts: Counts) -> None:
        """Add some rows."""
        self.rows += rows
        self.rules.update(rules)
        self.counts.add(counts)


def _check_visible(shard: Path) -> None:
    """Raise `FdrdError` if a shard that a worker wrote is not on this machine."""
    if not shard.is_file():
        raise FdrdError(
            f"{shard} was written by another machine and is not here; all machines must see "
            "`out` under the same path"
        )


def _shard_rows(pairs: PairTable, plan: ShardPlan) -> Iterator[ShardRow]:
    """Yield the records of a shard, each with what a worker needs to know about its image."""
    for row in plan.rows.tolist():
        record = pairs.record(row)
        place = pairs.contents.packed.get(record.source.sha256)
        yield ShardRow(record, place)


def true_texts(pairs: PairTable, true_negatives: Mapping[str, tuple[str, ...]]) -> TrueTexts:
    """Return the true texts of images: captions, and negatives that reviewers found to be true."""
    digest, digests = pairs.digest[pairs.rows], pairs.images.digests
    times = np.bincount(digest, minlength=len(digests))
    names = np.array(sorted(true_negatives), digests.dtype)
    times[np.isin(digests, names)] += 1
    rows = pairs.rows[times[digest] > 1]
    images = np.zeros(len(digests), np.uint64)
    for image in np.unique(pairs.digest[rows]).tolist():
        images[image] = image_key(pairs.images.name(image))
    captions = images[pairs.digest[rows]] ^ pairs.plain[rows]
    negatives = [
        image_key(name) ^ true_key(text) for name, texts in true_negatives.items() for text in texts
    ]
    return TrueTexts(KeySet(np.concatenate([captions, np.array(negatives, np.uint64)])))
