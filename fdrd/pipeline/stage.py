"""Fill the stage folder with the shards of a build: reuse intact ones, and write the others."""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.checks.tally import KeySet, TrueTexts, image_key, true_key
from fdrd.columns import CATEGORY_NAME, ExtraTypes, arrow_schema, extra_types
from fdrd.curation.pair_table import PairTable
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.files.struct_table import StructTable, StructWriter, arrow_array
from fdrd.negatives import Catalog
from fdrd.negatives.catalog import catalogs_by_domain
from fdrd.negatives.draw import AnnotateConfig
from fdrd.negatives.values import stated
from fdrd.pipeline.documents import CountedRows, Counts, make_counted
from fdrd.pipeline.pairing import DomainCaptions, Partners, partner_ids, partner_rows
from fdrd.progress import Progress
from fdrd.record import Labels, Record, Scalar, TaggedCaption, class_labels
from fdrd.storage import publish, resume
from fdrd.storage.manifest import library_versions
from fdrd.storage.manifest_types import Shard
from fdrd.storage.shard_file import PARQUET
from fdrd.storage.shards import RowsTask, ShardPlan, ShardTask, plan_shards, start_key, write_shard

ROWS = 256
"""Rows per task: few, so that no worker is left with much at the end."""


def stage_shards(
    out: Path,
    pairs: PairTable,
    config: BuildConfig,
    engine: Engine,
    progress: Progress,
    true_negatives: Mapping[str, tuple[str, ...]],
) -> tuple[list[Shard], dict[str, Counts], ExtraTypes]:
    """Stage all shards of the kept records. Shards with an unchanged key are reused from an earlier run.

    `true_negatives` are, by image digest, negatives that reviewers found to be true.

    Returns:
        Manifest entries sorted by path, the counts of newly written shards by path, and the extra columns.
    """
    work = publish.work_folder(out)
    labels = class_labels(pairs.named_categories())
    extra = extra_types(_distinct_extra(pairs))
    schema = arrow_schema(sorted(labels.values()), extra).serialize().to_pybytes()
    progress("preparing negatives", 0, 1)
    with TemporaryDirectory(prefix="captions-", dir=work) as folder:
        captions = _captions(pairs, Path(folder))
        catalogs = catalogs_by_domain({name: each.texts for name, each in captions.items()}, engine)
        progress("preparing negatives", 1, 1)
        partners = partner_rows(pairs, captions, catalogs, engine, progress)
    annotating = AnnotateConfig(config.seed, config.negatives, config.attribute_negatives)
    settings: list[Any] = [asdict(annotating), library_versions()]
    settings.append(hashlib.sha256(schema).hexdigest())
    if true_negatives:  # they change negatives, so they are part of every key
        settings.append(sorted(true_negatives.items()))
    true = {domain: KeySet(pairs["plain"][pairs.of_domain(domain)]) for domain in catalogs}
    of_images = true_texts(pairs, true_negatives)

    plans = plan_shards(pairs, config.shard_bytes, config.format)
    # Large shards first, so that little remains to be written when all rows are made.
    plans.sort(key=lambda plan: -len(plan.rows))
    reusable = resume.reusable_shards(out)
    with StructWriter(work / "rows.partial", Record) as writer:
        keys = _write_records(pairs, plans, settings, catalogs, partners, writer)
        records = writer.finish()
        entries, missing, start = [], [], 0
        tasks: list[RowsTask] = []
        for plan, key in zip(plans, keys, strict=True):
            part = records.part(start, start + len(plan.rows))
            start += len(plan.rows)
            if key in reusable:
                entries.append(_reuse(*reusable[key], publish.stage_folder(out)))
            else:
                missing.append((plan, key))
                tasks += _rows_tasks(plan, part, labels, annotating, extra)
        found = engine.run(make_counted, tasks, catalogs, true, of_images)
        made = _reported(found, progress, sum(entry.rows for entry in entries), len(pairs.rows))
        with ShardWriter(out, pairs.contents.root, schema, engine) as shards:
            for plan, key in missing:
                shards.write(plan, key, islice(made, -(-len(plan.rows) // ROWS)))
            entries += shards.finish()
    publish.remove_others(publish.stage_folder(out), {entry.path for entry in entries})
    return sorted(entries, key=lambda entry: entry.path), shards.counted, extra


def _reuse(folder: Path, entry: Shard, stage: Path) -> Shard:
    """Link a shard of an earlier run, and return its entry."""
    if folder != stage:
        publish.link_or_copy(folder / entry.path, stage / entry.path)
    return entry


def _rows_tasks(
    plan: ShardPlan,
    records: StructTable[Record],
    labels: Labels,
    config: AnnotateConfig,
    extra: ExtraTypes,
) -> Iterator[RowsTask]:
    named = plan.path.endswith(PARQUET)
    for start in range(0, len(records), ROWS):
        part = records.part(start, min(start + ROWS, len(records)))
        yield RowsTask(plan.domain, part, labels, named, config, extra)


def _reported(
    parts: Iterator[CountedRows], progress: Progress, done: int, total: int
) -> Iterator[CountedRows]:
    for part in parts:
        done += len(part[0])
        progress("writing shards", done, total)
        yield part


class ShardWriter:
    """Lets workers write shards, about as many at a time as there are workers. A context manager.

    `counted` has the counts of each shard by path.
    """

    def __init__(self, out: Path, root: str, schema: bytes, engine: Engine):
        self.counted: dict[str, Counts] = {}
        self._out, self._stage = out, publish.stage_folder(out)
        self._root, self._schema, self._engine = root, schema, engine
        self._folder = publish.work_folder(out) / "rows"
        self._writing: deque[tuple[Path, Callable[[], Shard]]] = deque()
        self._entries: list[Shard] = []

    def __enter__(self) -> ShardWriter:
        """Create the folder for rows that wait for their images, without the files of a killed run."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, plan: ShardPlan, key: str, parts: Iterator[CountedRows]) -> None:
        """Collect the rows of a shard in a file, and let a worker write the shard."""
        first, rules, counts = next(parts)
        file = self._folder / f"{len(self.counted)}.arrow"
        with file.open("wb") as opened, pa.ipc.new_file(opened, first.schema) as writer:
            writer.write_batch(first)
            for batch, more_rules, more_counts in parts:
                writer.write_batch(batch)
                rules.update(more_rules)
                counts.add(more_counts)
        self.counted[plan.path] = counts
        task = ShardTask(
            path=plan.path,
            domain=plan.domain,
            split=plan.split,
            rows=str(file.absolute()),
            root=self._root,
            rules=rules,
            key=key,
            folder=str(self._stage.absolute()),
            schema=self._schema,
        )
        self._writing.append((file, self._engine.submit(write_shard, task)))
        while len(self._writing) >= self._engine.workers:
            self._finish_first()

    def finish(self) -> list[Shard]:
        """Wait until all shards are written, and return their manifest entries."""
        while self._writing:
            self._finish_first()
        return self._entries

    def _finish_first(self) -> None:
        file, result = self._writing.popleft()
        entry = result()
        shard = self._stage / entry.path
        if not shard.is_file():
            raise FdrdError(
                f"{shard} was written by another machine and is not here; all machines must see "
                "`out` under the same path"
            )
        resume.record_shard(self._out, entry)
        self._entries.append(entry)
        file.unlink()


def _distinct_extra(pairs: PairTable) -> Iterator[dict[str, Scalar]]:
    """Yield the extra values of the kept records, equal ones once."""
    column = pairs.contents.records.table("extra")["extra"]
    for text in column.take(arrow_array(pairs.rows)).unique().to_pylist():
        yield msgspec.json.decode(text)


def _captions(pairs: PairTable, folder: Path) -> dict[str, DomainCaptions]:
    """Write the captions of each domain with kept records to the folder, sorted by category and text."""
    from pyarrow.compute import sort_indices

    records = pairs.contents.records
    captions = {}
    for index, domain in enumerate(pairs.names["domain"]):
        rows = pairs.of_domain(domain)
        if len(rows):
            keys = records.table("category", "caption").take(arrow_array(rows))
            order = sort_indices(keys, [("category", "ascending"), ("caption", "ascending")])
            rows = rows[np.array(order.to_pylist())]
            texts = records.copy(folder / f"{index}.arrow", rows, TaggedCaption)
            captions[domain] = DomainCaptions(rows, texts)
    return captions


def _write_records(
    pairs: PairTable,
    plans: Sequence[ShardPlan],
    settings: Sequence[Any],
    catalogs: Mapping[str, Catalog],
    partners: Partners,
    writer: StructWriter[Record],
) -> list[str]:
    """Write the records of all shards in their order, and return the key of each shard."""
    records = pairs.records(np.concatenate([plan.rows for plan in plans]))
    keys = []
    for plan in plans:
        columns = (CATEGORY_NAME,) if plan.path.endswith(PARQUET) else ()
        digest = start_key(plan, settings, catalogs[plan.domain].digest, *columns)
        natural = partner_ids(pairs, partners, plan.rows)
        for record, natural_pairs in zip(islice(records, len(plan.rows)), natural, strict=True):
            record = replace(record, natural_pairs=natural_pairs)
            digest.update(msgspec.json.encode(record))
            writer.append(record)
        keys.append(digest.hexdigest())
    return keys


def true_texts(pairs: PairTable, true_negatives: Mapping[str, tuple[str, ...]]) -> TrueTexts:
    """Return the true texts of images: captions and what they state, and negatives that reviewers found to be true."""
    digest, digests = pairs["digest"][pairs.rows], pairs.images.digests
    times = np.bincount(digest, minlength=len(digests))
    names = np.array(sorted(true_negatives), digests.dtype)
    times[np.isin(digests, names)] += 1
    rows = pairs.rows[times[digest] > 1]
    images = np.zeros(len(digests), np.uint64)
    for image in np.unique(pairs["digest"][rows]).tolist():
        images[image] = image_key(pairs.images.name(image))
    captions = images[pairs["digest"][rows]] ^ pairs["plain"][rows]
    of_rows = zip(images[pairs["digest"][rows]].tolist(), pairs.records(rows), strict=True)
    states = np.fromiter(
        (image ^ true_key(stated(span)) for image, record in of_rows for span in record.attributes),
        np.uint64,
    )
    negatives = [
        image_key(name) ^ true_key(text) for name, texts in true_negatives.items() for text in texts
    ]
    keys = np.concatenate([captions, states, np.array(negatives, np.uint64)])
    return TrueTexts(KeySet(keys))
