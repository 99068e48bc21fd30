"""Fill the stage folder with the shards of a build: reuse intact ones, and write the others.

Negatives and natural pairs need all captions of a domain. Workers read the captions and add negatives, and this process
matches the natural pairs.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.checks.tally import KeySet, Tally, TrueTexts, image_key, true_key
from fdrd.columns import CATEGORY_NAME, ExtraTypes, arrow_schema, extra_types
from fdrd.curation.pair_table import Integers, Numbering, PairTable
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.files.struct_table import BATCH, StructTable, StructWriter, arrow_array
from fdrd.negatives import Catalog
from fdrd.negatives.catalog import catalogs_by_domain
from fdrd.negatives.natural_pairs import Captioned, Statement, natural_pairs, state
from fdrd.negatives.values import stated
from fdrd.pipeline.documents import CountedRows, make_counted
from fdrd.progress import Progress
from fdrd.record import KINDS, Kind, NaturalPair, Record, TaggedCaption, class_labels
from fdrd.storage import publish, resume
from fdrd.storage.manifest import Shard, library_versions
from fdrd.storage.shard_file import PARQUET
from fdrd.storage.shards import RowsTask, ShardPlan, ShardTask, plan_shards, start_key, write_shard

T = TypeVar("T")

ROWS = 256  # rows per task: few, so that no worker is left with much at the end
Partners = Mapping[Kind, Integers]
"""By kind, the row of the partner of each record of a source, -1 for none."""


def stage_shards(
    out: Path,
    pairs: PairTable,
    config: BuildConfig,
    engine: Engine,
    progress: Progress,
    true_negatives: Mapping[str, tuple[str, ...]],
) -> tuple[list[Shard], dict[str, Tally], ExtraTypes]:
    """Stage all shards of the kept records. Shards with an unchanged key are reused from an earlier run.

    `true_negatives` are, by image digest, negatives that reviewers found to be true.

    Returns:
        Manifest entries sorted by path, the counts of newly written shards by path, and the extra columns.
    """
    work, stage = publish.work_folder(out), publish.stage_folder(out)
    labels = class_labels(pairs.named_categories())
    texts = pairs.contents.records.table("extra")["extra"].take(arrow_array(pairs.rows))
    extra = extra_types(map(msgspec.json.decode, texts.unique().to_pylist()))
    schema = arrow_schema(sorted(labels.values()), extra).serialize().to_pybytes()
    progress("preparing negatives", 0, 1)
    with TemporaryDirectory(prefix="captions-", dir=work) as folder:
        captions = _captions(pairs, Path(folder))
        catalogs = catalogs_by_domain({name: each.texts for name, each in captions.items()}, engine)
        progress("preparing negatives", 1, 1)
        partners = _partners(pairs, captions, catalogs, engine, progress)
    names = "seed", "negatives", "attribute_negatives"
    settings: list[Any] = [{name: getattr(config, name) for name in names}, library_versions()]
    settings.append(hashlib.sha256(schema).hexdigest())
    if true_negatives:  # they change negatives, so they are part of every key
        settings.append(sorted(true_negatives.items()))
    true = {domain: KeySet(pairs["plain"][pairs.of_domain(domain)]) for domain in catalogs}
    of_images = _true_texts(pairs, true_negatives)

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
            stop = start + len(plan.rows)
            if key in reusable:
                earlier, entry = reusable[key]
                if earlier != stage:
                    publish.link_or_copy(earlier / entry.path, stage / entry.path)
                entries.append(entry)
            else:
                missing.append((plan, key))
                named = plan.path.endswith(PARQUET)
                parts = (records.part(at, min(at + ROWS, stop)) for at in range(start, stop, ROWS))
                tasks += [
                    RowsTask(plan.domain, part, labels, named, config, extra) for part in parts
                ]
            start = stop
        made = engine.run(make_counted, tasks, catalogs, true, of_images)
        rows = _reported(made, progress, sum(entry.rows for entry in entries), len(pairs.rows))
        written, counted = _write_shards(out, missing, rows, pairs.contents.root, schema, engine)
    entries = sorted([*entries, *written], key=lambda entry: entry.path)
    publish.remove_others(stage, {entry.path for entry in entries})
    return entries, counted, extra


def _reported(
    parts: Iterator[CountedRows], progress: Progress, done: int, total: int
) -> Iterator[CountedRows]:
    for part in parts:
        done += len(part[0])
        progress("writing shards", done, total)
        yield part


def _write_shards(
    out: Path,
    plans: Sequence[tuple[ShardPlan, str]],
    parts: Iterator[CountedRows],
    root: str,
    schema: bytes,
    engine: Engine,
) -> tuple[list[Shard], dict[str, Tally]]:
    """Let workers write shards, about as many at a time as there are workers.

    The rows of a shard are collected in a file, where they wait for their images. `plans` are the shards with their
    keys. Return the manifest entries, and the counts of each shard by path.
    """
    stage, folder = publish.stage_folder(out), publish.work_folder(out) / "rows"
    shutil.rmtree(folder, ignore_errors=True)  # a killed run left it
    folder.mkdir()
    entries: list[Shard] = []
    counted: dict[str, Tally] = {}
    waiting: deque[tuple[Path, Callable[[], Shard]]] = deque()

    def finish_first() -> None:
        file, result = waiting.popleft()
        entry = result()
        if not (stage / entry.path).is_file():
            raise FdrdError(
                f"{stage / entry.path} was written by another machine and is not here; all machines must see "
                "`out` under the same path"
            )
        resume.record_shard(out, entry)
        entries.append(entry)
        file.unlink()

    try:
        for plan, key in plans:
            rows, rules, tally = next(parts)
            file = folder / f"{len(counted)}.arrow"
            with file.open("wb") as opened, pa.ipc.new_file(opened, rows.schema) as writer:
                writer.write_batch(rows)
                for more, more_rules, more_counts in islice(parts, -(-len(plan.rows) // ROWS) - 1):
                    writer.write_batch(more)
                    rules.update(more_rules)
                    tally.add(more_counts)
            counted[plan.path] = tally
            task = ShardTask(
                path=plan.path,
                domain=plan.domain,
                split=plan.split,
                rows=str(file.absolute()),
                root=root,
                rules=rules,
                key=key,
                folder=str(stage.absolute()),
                schema=schema,
            )
            waiting.append((file, engine.submit(write_shard, task)))
            while len(waiting) >= engine.workers:
                finish_first()
        while waiting:
            finish_first()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return entries, counted


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
    ids = pairs.contents.records.table("id")["id"].combine_chunks()
    keys = []
    for plan in plans:
        columns = (CATEGORY_NAME,) if plan.path.endswith(PARQUET) else ()
        digest = start_key(plan, settings, catalogs[plan.domain].digest, *columns)
        natural = _partner_ids(ids, partners, plan.rows)
        for record, some in zip(islice(records, len(plan.rows)), natural, strict=True):
            record = replace(record, natural_pairs=some)
            digest.update(msgspec.json.encode(record))
            writer.append(record)
        keys.append(digest.hexdigest())
    return keys


def _true_texts(pairs: PairTable, true_negatives: Mapping[str, tuple[str, ...]]) -> TrueTexts:
    """Return the true texts of images: captions and what they state, and negatives that reviewers found to be true."""
    digest, digests = pairs["digest"][pairs.rows], pairs.images.digests
    times = np.bincount(digest, minlength=len(digests))
    names = np.array(sorted(true_negatives), digests.dtype)
    times[np.isin(digests, names)] += 1
    rows = pairs.rows[times[digest] > 1]
    images = np.zeros(len(digests), np.uint64)
    for image in np.unique(pairs["digest"][rows]).tolist():
        images[image] = image_key(pairs.images.name(image))
    image_of_row = images[pairs["digest"][rows]]
    of_rows = zip(image_of_row.tolist(), pairs.records(rows), strict=True)
    states = np.fromiter(
        (image ^ true_key(stated(span)) for image, record in of_rows for span in record.attributes),
        np.uint64,
    )
    negatives = np.fromiter(
        (
            image_key(name) ^ true_key(text)
            for name, texts in true_negatives.items()
            for text in texts
        ),
        np.uint64,
    )
    captions = image_of_row ^ pairs["plain"][rows]
    return TrueTexts(KeySet(np.concatenate([captions, states, negatives])))


@dataclass(frozen=True, slots=True)
class _DomainCaptions:
    """The captions of the kept records of a domain, and (n,) their rows in the source."""

    rows: Integers
    texts: StructTable[TaggedCaption]


def _captions(pairs: PairTable, folder: Path) -> dict[str, _DomainCaptions]:
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
            captions[domain] = _DomainCaptions(rows, texts)
    return captions


def _partners(
    pairs: PairTable,
    captions: Mapping[str, _DomainCaptions],
    catalogs: Mapping[str, Catalog],
    engine: Engine,
    progress: Progress,
) -> Partners:
    """Return the partners of all records. They depend on the records, not on their order."""
    partners: dict[Kind, Integers] = {kind: np.full(len(pairs.kept), -1) for kind in KINDS}
    # Near and mirrored duplicates count as one image.
    looks: Numbering[str | int] = Numbering()
    digests = pairs["digest"].tolist()
    image = np.array([looks[pairs.clusters.get(digest, digest)] for digest in digests], np.int64)
    group = np.where(pairs["group"] > 0, pairs["group"], -1 - image)
    done, total = 0, len(pairs.rows)
    for domain, of_domain in captions.items():
        catalog = catalogs[domain]
        statements = _statements(of_domain.texts, catalog, engine)
        indices = [catalog.index_of.get(name, -1) for name in pairs.names["category"]]
        category = np.array(indices, np.int64)[pairs["category"][of_domain.rows]]
        related = [each.same for each in catalog.categories]
        splits = pairs.split[of_domain.rows]
        for split in np.unique(splits).tolist():
            progress("matching natural pairs", done, total)
            inside = np.flatnonzero(splits == split)
            rows = of_domain.rows[inside]
            records = Captioned(
                key=pairs["order"][rows],
                image=image[rows],
                group=group[rows],
                text=pairs["plain"][rows],
                category=category[inside],
                statements=[statements[index] for index in inside.tolist()],
            )
            for kind, partner in natural_pairs(records, related).items():
                matched = partner >= 0
                partners[kind][rows[matched]] = rows[partner[matched]]
            done += len(rows)
    progress("matching natural pairs", done, total)
    return partners


def _partner_ids(
    ids: pa.Array, partners: Partners, rows: Integers
) -> Iterator[tuple[NaturalPair, ...]]:
    columns = []
    for kind in KINDS:
        partner = partners[kind][rows]
        names = ids.take(arrow_array(np.maximum(partner, 0))).to_pylist()
        found = zip(names, partner.tolist(), strict=True)
        columns.append([NaturalPair(kind, id) if row >= 0 else None for id, row in found])
    for some in zip(*columns, strict=True):
        yield tuple(pair for pair in some if pair)


def _statements(
    texts: StructTable[TaggedCaption], catalog: Catalog, engine: Engine
) -> list[Statement]:
    """Return what the captions of a domain state; equal parts are one object."""
    stop = len(texts)
    tasks = (texts.part(start, min(start + BATCH, stop)) for start in range(0, stop, BATCH))
    known: dict[Any, Any] = {}

    def one(part: T) -> T:
        found: T = known.setdefault(part, part)
        return found

    return [
        Statement(
            each.words,
            each.named,
            one(each.categories),
            one(tuple(map(one, each.values))),
            one(tuple(map(one, each.things))),
        )
        for some in engine.run(_read_statements, tasks, catalog)
        for each in some
    ]


def _read_statements(texts: StructTable[TaggedCaption], catalog: Catalog) -> list[Statement]:
    return [state(caption, catalog) for caption in texts]
