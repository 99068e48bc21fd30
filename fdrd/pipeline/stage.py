"""Fill the stage folder with the shards of a build: reuse intact ones, and write the others.

Negatives and natural pairs need all captions of a domain. Workers read the captions and add negatives, and this process
matches the natural pairs.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.checks.tally import KeySet, Tally, image_key, true_key
from fdrd.columns import CATEGORY_NAME, ExtraTypes, arrow_schema, extra_types
from fdrd.curation.pair_table import Integers, Numbering, PairTable
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.files.struct_table import BATCH, StructTable, StructWriter, arrow_array
from fdrd.negatives import Catalog
from fdrd.negatives.catalog import Category, catalogs_by_domain
from fdrd.negatives.natural_pairs import Captioned, Statement, natural_pairs, state
from fdrd.negatives.values import stated
from fdrd.pipeline.documents import CountedRows, make_counted
from fdrd.progress import Progress
from fdrd.record import KINDS, Kind, NaturalPair, Record, Scalar, TaggedCaption, class_labels
from fdrd.storage import publish, resume
from fdrd.storage.manifest import Shard, library_versions
from fdrd.storage.shard_file import PARQUET
from fdrd.storage.shards import ShardTask, plan_shards, write_shard
from fdrd.text.mentions import NameIndex

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

    `true_negatives` are, by image digest, negatives that reviewers found to be true. Return the manifest entries sorted
    by path, the counts of newly written shards by path, and the extra columns.
    """
    work, stage = publish.work_folder(out), publish.stage_folder(out)
    labels = class_labels(pairs.named_categories())
    extra = extra_types(_extra_columns(pairs))
    schema = arrow_schema(sorted(labels.values()), extra).serialize().to_pybytes()
    progress("preparing negatives", 0, 1)
    with TemporaryDirectory(prefix="captions-", dir=work) as folder:
        captions = _captions(pairs, Path(folder))
        catalogs = catalogs_by_domain(
            {name: texts for name, (_, texts) in captions.items()}, engine
        )
        progress("preparing negatives", 1, 1)
        partners = _partners(pairs, captions, catalogs, engine, progress)
    drawing = ("seed", "negatives", "attribute_negatives")
    settings: list[Any] = [{name: getattr(config, name) for name in drawing}, library_versions()]
    settings.append(hashlib.sha256(schema).hexdigest())
    if true_negatives:  # they change negatives, so they are part of every key
        settings.append(sorted(true_negatives.items()))
    true = {domain: KeySet(pairs["plain"][pairs.of_domain(domain)]) for domain in catalogs}
    of_images = _true_texts(pairs, true_negatives)

    plans = plan_shards(pairs, config.shard_bytes, config.format)
    # Large shards first, so that little remains to be written when all rows are made.
    plans.sort(key=lambda plan: -plan[0].rows)
    reusable = resume.reusable_shards(out)
    with StructWriter(work / "rows.partial", Record) as writer:
        planned = _write_records(pairs, plans, settings, catalogs, partners, writer)
        records = writer.finish()
        entries, missing, start = [], [], 0
        tasks: list[StructTable[Record]] = []
        for shard in planned:
            stop = start + shard.rows
            if shard.key in reusable:
                earlier, entry = reusable[shard.key]
                if earlier != stage:
                    publish.link_or_copy(earlier / entry.path, stage / entry.path)
                entries.append(entry)
            else:
                missing.append(shard)
                tasks += [records.part(at, min(at + ROWS, stop)) for at in range(start, stop, ROWS)]
            start = stop
        made = engine.run(make_counted, tasks, labels, extra, config, catalogs, true, of_images)
        rows = _reported(made, progress, sum(entry.rows for entry in entries), len(pairs.rows))
        written, counted = _write_shards(out, missing, rows, pairs.contents.root, schema, engine)
    entries = sorted([*entries, *written], key=lambda entry: entry.path)
    publish.remove_others(stage, {entry.path for entry in entries})
    return entries, counted, extra


def _extra_columns(pairs: PairTable) -> Iterator[dict[str, Scalar]]:
    """Yield the extra columns of the kept records, batch by batch; equal ones of a batch once."""
    start = 0
    for batch in pairs.contents.records.batches():
        kept = np.flatnonzero(pairs.kept[start : start + len(batch)])
        texts = batch.column("extra").take(arrow_array(kept)).unique()
        yield from map(msgspec.json.decode, texts.to_pylist())
        start += len(batch)


def _reported(
    parts: Iterator[CountedRows], progress: Progress, done: int, total: int
) -> Iterator[CountedRows]:
    for part in parts:
        done += len(part[0])
        progress("writing shards", done, total)
        yield part


def _write_shards(
    out: Path,
    shards: Sequence[Shard],
    parts: Iterator[CountedRows],
    root: str,
    schema: bytes,
    engine: Engine,
) -> tuple[list[Shard], dict[str, Tally]]:
    """Let workers write shards, one at a time each.

    The rows of a shard are collected in a file, where they wait for their images. Return the complete manifest entries,
    and the counts of each shard by path.
    """
    stage, folder = publish.stage_folder(out), publish.work_folder(out) / "rows"
    shutil.rmtree(folder, ignore_errors=True)  # a killed run left it
    folder.mkdir()
    entries: list[Shard] = []
    counted: dict[str, Tally] = {}

    def tasks() -> Iterator[ShardTask]:
        for shard in shards:
            rows, rules, tally = next(parts)
            file = folder.absolute() / f"{len(counted)}.arrow"
            with file.open("wb") as opened, pa.ipc.new_file(opened, rows.schema) as writer:
                writer.write_batch(rows)
                for more, more_rules, more_counts in islice(parts, -(-shard.rows // ROWS) - 1):
                    writer.write_batch(more)
                    rules.update(more_rules)
                    tally.add(more_counts)
            counted[shard.path] = tally
            yield replace(shard, rules=dict(sorted(rules.items()))), str(file)

    try:
        common = str(stage.absolute()), root, schema
        for entry in engine.run(write_shard, tasks(), *common, ahead=1):
            if not (stage / entry.path).is_file():
                raise FdrdError(
                    f"{stage / entry.path} was written by another machine and is not here; all machines must see "
                    "`out` under the same path"
                )
            resume.record_shard(out, entry)
            (folder / f"{len(entries)}.arrow").unlink()
            entries.append(entry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return entries, counted


def _write_records(
    pairs: PairTable,
    plans: Sequence[tuple[Shard, Integers]],
    settings: Sequence[Any],
    catalogs: Mapping[str, Catalog],
    partners: Partners,
    writer: StructWriter[Record],
) -> list[Shard]:
    """Write the records of all shards in their order, and return the shards with their keys."""
    records = pairs.records(np.concatenate([rows for _, rows in plans]))
    ids = pairs.contents.records.table("id")["id"].combine_chunks()
    shards = []
    for shard, rows in plans:
        # All that determines the bytes of a shard is in its key.
        known = [shard.path, settings, catalogs[shard.domain].digest]
        known += [CATEGORY_NAME] if shard.path.endswith(PARQUET) else []
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        natural = _partner_ids(ids, partners, rows)
        for record, some in zip(islice(records, len(rows)), natural, strict=True):
            record = replace(record, natural_pairs=some)
            digest.update(msgspec.json.encode(record))
            writer.append(record)
        shards.append(replace(shard, key=digest.hexdigest()))
    return shards


def _true_texts(pairs: PairTable, true_negatives: Mapping[str, tuple[str, ...]]) -> KeySet:
    """Return the keys of the true texts of images: captions, what they state, and what reviewers found to be true."""
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
    return KeySet(np.concatenate([captions, states, negatives]))


_DomainCaptions = tuple[Integers, StructTable[TaggedCaption]]
"""The kept records of a domain: (n,) their rows in the source, and their captions."""


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
            captions[domain] = rows, records.copy(folder / f"{index}.arrow", rows, TaggedCaption)
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
    for domain, (of_domain, texts) in captions.items():
        catalog = catalogs[domain]
        statements = _statements(texts, catalog, engine)
        indices = [catalog.index_of.get(name, -1) for name in pairs.names["category"]]
        category = np.array(indices, np.int64)[pairs["category"][of_domain]]
        related = [each.same for each in catalog.categories]
        splits = pairs.split[of_domain]
        for split in np.unique(splits).tolist():
            progress("matching natural pairs", done, total)
            inside = np.flatnonzero(splits == split)
            rows = of_domain[inside]
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
    names = catalog.categories, catalog.index, catalog.index_of  # its odds need not be sent
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
        for some in engine.run(_read_statements, tasks, *names)
        for each in some
    ]


def _read_statements(
    texts: StructTable[TaggedCaption],
    categories: Sequence[Category],
    index: NameIndex,
    index_of: Mapping[str, int],
) -> list[Statement]:
    return [state(caption, categories, index, index_of) for caption in texts]
