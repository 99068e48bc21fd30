"""Fill the stage folder with the shards of a build: reuse intact ones, and write the others."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.card.summary import Summary
from fdrd.checks.tally import KeySet, TrueTexts, image_key, true_key
from fdrd.columns import CATEGORY_NAME, ExtraTypes, arrow_schema, extra_types
from fdrd.curation.pair_table import PairTable
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.files.struct_table import StructWriter, arrow_array
from fdrd.negatives import Catalog
from fdrd.negatives.annotate import AnnotateConfig
from fdrd.negatives.catalog import catalogs_by_domain
from fdrd.negatives.values import stated
from fdrd.pipeline.counts import CountedRows, Counts, make_counted
from fdrd.pipeline.pairing import DomainCaptions, Partners, partner_ids, partner_rows
from fdrd.progress import Progress
from fdrd.record import Record, Scalar, TaggedCaption, class_labels
from fdrd.storage import publish, resume
from fdrd.storage.manifest import library_versions
from fdrd.storage.manifest_types import Shard
from fdrd.storage.rows import RowsTask
from fdrd.storage.shard_file import PARQUET
from fdrd.storage.shards import ShardPlan, ShardTask, plan_shards, start_key, write_shard

ROWS = 256
"""Rows per task: few, so that no worker is left with much at the end."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The shards of a build: their manifest entries, sorted by path, and the counts of newly written ones.

    `extra` are the extra columns of the shards.
    """

    shards: list[Shard]
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
    stage_folder, work = publish.stage_folder(out), publish.work_folder(out)
    (stage_folder / "data").mkdir(parents=True, exist_ok=True)
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
    of_images = true_texts(pairs, true_negatives or {})

    plans = plan_shards(pairs, config.shard_bytes, config.format)
    # Large shards first, so that little remains to be written when all rows are made.
    plans.sort(key=lambda plan: -len(plan.rows))
    reusable = resume.reusable_shards(out)
    with StructWriter(work / "rows.partial", Record) as writer, ExitStack() as stack:
        shards = _keyed(pairs, plans, settings, catalogs, partners, writer)
        records = writer.finish()
        queue = ShardQueue(out, pairs.contents.root, schema, engine)
        stack.callback(queue.remove_files)
        tasks = []
        for shard in shards:
            if shard.key in reusable:
                queue.reuse(*reusable[shard.key])
                continue
            queue.begin(shard)
            named = shard.plan.path.endswith(PARQUET)
            for start in range(shard.start, shard.stop, ROWS):
                some = records.part(start, min(start + ROWS, shard.stop))
                tasks.append(RowsTask(shard.plan.domain, some, labels, named, annotating, extra))
        for made in engine.run(make_counted, tasks, catalogs, true, of_images):
            queue.add(made)
            progress("writing shards", queue.rows, len(pairs.rows))
        entries = queue.finish()
    publish.remove_others(stage_folder, {entry.path for entry in entries})
    return Staged(entries, queue.counted, extra)


@dataclass(frozen=True, slots=True)
class KeyedShard:
    """A shard with its key; its records are rows `start` to `stop` of the file of records."""

    plan: ShardPlan
    key: str
    start: int
    stop: int


class ShardQueue:
    """The shards of a build. Rows are added in the order of the shards; workers write each shard when it is complete.

    Attributes:
        rows: number of rows of reused shards and of rows that were added.
        counted: by path, the counts of the shards whose rows were added.
    """

    def __init__(self, out: Path, root: str, schema: bytes, engine: Engine):
        self.rows = 0
        self.counted: dict[str, Counts] = {}
        self._out, self._stage = out, publish.stage_folder(out)
        self._root, self._schema, self._engine = root, schema, engine
        self._folder = publish.work_folder(out) / "rows"
        self.remove_files()  # of a killed run
        self._folder.mkdir()
        self._begun: deque[_RowsFile] = deque()
        self._writing: deque[tuple[Path, Callable[[], Shard]]] = deque()
        self._entries: list[Shard] = []

    def reuse(self, folder: Path, entry: Shard) -> None:
        """Link a shard of an earlier run."""
        if folder != self._stage:
            publish.link_or_copy(folder / entry.path, self._stage / entry.path)
        self._entries.append(entry)
        self.rows += entry.rows

    def begin(self, shard: KeyedShard) -> None:
        """Append a shard whose rows will be added."""
        file = self._folder / f"{len(self._begun)}.arrow"
        self._begun.append(_RowsFile(file, shard, Counts(Summary(shard.plan.domain))))

    def add(self, made: CountedRows) -> None:
        """Add the next rows to the first shard that is not complete."""
        first = self._begun[0]
        first.add(made)
        self.rows += len(made[0])
        plan = first.shard.plan
        if first.rows < len(plan.rows):
            return
        self._begun.popleft()
        first.close()
        self.counted[plan.path] = first.counts
        task = ShardTask(
            plan.path, plan.domain, plan.split, str(first.file.absolute()), self._root, first.rules,
            first.shard.key, str(self._stage.absolute()), self._schema,
        )  # fmt: skip
        self._writing.append((first.file, self._engine.submit(write_shard, task)))
        while len(self._writing) >= self._engine.workers:
            self._finish_first()

    def finish(self) -> list[Shard]:
        """Wait until all shards are written, and return their manifest entries, sorted by path."""
        while self._writing:
            self._finish_first()
        return sorted(self._entries, key=lambda entry: entry.path)

    def remove_files(self) -> None:
        """Remove the files of the rows."""
        shutil.rmtree(self._folder, ignore_errors=True)

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


@dataclass(slots=True)
class _RowsFile:
    """The rows of a shard that are made so far, in an Arrow file, with their counts."""

    file: Path
    shard: KeyedShard
    counts: Counts
    rules: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    _opened: ExitStack = field(default_factory=ExitStack)
    _writer: pa.RecordBatchFileWriter | None = None

    def add(self, made: CountedRows) -> None:
        """Add some rows."""
        batch, rules, counts = made
        if self._writer is None:
            opened = self._opened.enter_context(self.file.open("wb"))
            self._writer = pa.ipc.new_file(opened, batch.schema)
        self._writer.write_batch(batch)
        self.rows += len(batch)
        self.rules.update(rules)
        self.counts.add(counts)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
        self._opened.close()


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
    for number, domain in enumerate(pairs.names["domain"]):
        rows = pairs.of_domain(domain)
        if len(rows):
            keys = records.table("category", "caption").take(arrow_array(rows))
            order = sort_indices(keys, [("category", "ascending"), ("caption", "ascending")])
            rows = rows[np.array(order.to_pylist())]
            texts = records.copy(folder / f"{number}.arrow", rows, TaggedCaption)
            captions[domain] = DomainCaptions(rows, texts)
    return captions


def _keyed(
    pairs: PairTable,
    plans: Sequence[ShardPlan],
    settings: Sequence[Any],
    catalogs: Mapping[str, Catalog],
    partners: Partners,
    writer: StructWriter[Record],
) -> list[KeyedShard]:
    """Write the records of all shards in their order, and return the shards with their keys."""
    records = pairs.records(np.concatenate([plan.rows for plan in plans]))
    found = []
    for plan in plans:
        columns = (CATEGORY_NAME,) if plan.path.endswith(PARQUET) else ()
        digest = start_key(plan, settings, catalogs[plan.domain].digest, *columns)
        start = len(writer)
        paired = partner_ids(pairs, partners, plan.rows)
        for record, found_partners in zip(islice(records, len(plan.rows)), paired, strict=True):
            record = replace(record, natural_pairs=found_partners)
            digest.update(msgspec.json.encode(record))
            writer.append(record)
        found.append(KeyedShard(plan, digest.hexdigest(), start, len(writer)))
    return found


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
