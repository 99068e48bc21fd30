"""Make counted rows, write the documents of a built dataset (card, Croissant, rejected records), and convert it.

Rows are counted for card and audit while they are made, or read again from the shard of an earlier run.
"""

from __future__ import annotations

import json
import posixpath
import shutil
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from msgspec.structs import asdict, replace

from fdrd.build_config import FORMATS, BuildConfig
from fdrd.card.croissant import croissant
from fdrd.card.render import render_card
from fdrd.checks.audits import named_records, report
from fdrd.checks.tally import KeySet, Tally, true_key, true_texts
from fdrd.columns import ExtraTypes, arrow_schema
from fdrd.engines import Engine, LocalEngine
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of, write_text
from fdrd.files.struct_table import StructTable, parse_rows
from fdrd.negatives import Catalog
from fdrd.negatives.draw import annotate
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.record import Labels, Record
from fdrd.storage import shard_file
from fdrd.storage.manifest import Manifest, Shard, digest_of_shards, dump, read_manifest
from fdrd.storage.publish import link_or_copy, work_folder
from fdrd.storage.shards import make_rows

TrueCaptions = Mapping[str, KeySet]
"""By domain, the keys of its normalized captions (`fdrd.checks.tally.true_captions`)."""
CountedRows = tuple[pa.RecordBatch, Counter[str], Tally]
"""Rows, how often each rule fixed or dropped a given negative, and the counts of the rows."""


def make_counted(
    part: StructTable[Record],
    labels: Labels,
    extra: ExtraTypes,
    config: BuildConfig,
    catalogs: Mapping[str, Catalog],
    true: TrueCaptions,
    of_images: KeySet,
) -> CountedRows:
    """Add negatives to records of one domain, and return their rows with counts.

    `of_images` are the keys of true texts (`fdrd.checks.tally.true_texts`). Raise `FdrdError` if this machine does not
    see the records.
    """
    records = list(part)
    domain = records[0].domain
    texts = [true_texts(record, of_images) for record in records]
    annotated = annotate(records, texts, catalogs[domain], config)
    tally, rules = Tally(domain), Counter[str]()
    for before, record in zip(records, annotated, strict=True):
        tally.count(record, true[domain])
        rules.update(record.rules[len(before.rules) :])
    rows = make_rows(annotated, labels, extra, named=config.format == "parquet")
    return rows, rules, tally


def _count_shard(shard: Shard, folder: str, manifest: Manifest, true: TrueCaptions) -> Tally:
    tally = Tally(shard.domain)
    for record in named_records(Path(folder), replace(manifest, shards=[shard])):
        tally.count(record, true[shard.domain])
    return tally


def _true_captions(path: str) -> array[int]:
    batches = shard_file.read_batches(Path(path), images=False)
    captions = (text for batch in batches for text in batch["caption"].to_pylist())
    return array("Q", map(true_key, captions))


def write_documents(
    folder: Path,
    manifest: Manifest,
    progress: Progress = silent,
    engine: Engine | None = None,
    counted: Mapping[str, Tally] | None = None,
) -> list[Tally]:
    """Write README.md and croissant.json, and return the counts of each domain.

    The audit leaves out the text-only baselines, which take longer than everything else. The engine, by default this
    process, reads the shards whose path is not in `counted`.
    """
    engine, counted, folder = engine or LocalEngine(1), counted or {}, folder.absolute()
    shards = manifest.shards
    missing = [shard for shard in shards if shard.path not in counted]
    keys: dict[str, array[int]] = {}
    if missing:
        paths = [str(folder / shard.path) for shard in shards]
        for shard, captions in zip(shards, engine.run(_true_captions, paths), strict=True):
            keys.setdefault(shard.domain, array("Q")).extend(captions)
    true = {domain: KeySet(captions) for domain, captions in keys.items()}
    read = engine.run(_count_shard, missing, str(folder), manifest, true)
    tallies = {domain: Tally(domain) for domain in sorted(manifest.splits)}
    done = 0
    for shard in shards:
        tallies[shard.domain].add(counted.get(shard.path) or next(read))
        done += shard.rows
        progress("auditing captions", done, manifest.records.kept)
    domains = list(tallies.values())
    card = render_card(manifest, [report(tally) for tally in domains], domains)
    write_text(folder / "README.md", card)
    write_text(folder / "croissant.json", json.dumps(croissant(manifest), indent=1) + "\n")
    return domains


def convert_dataset(folder: Path, format: str, progress: Progress = silent) -> Path:
    """Return a folder with the dataset in this format: itself, or a copy in the work folder next to it.

    The copy has the bytes that `fdrd build --format` writes, except for the shard keys in the manifest. Raise
    `FdrdError` if the format is unknown, there is no dataset, or a shard is damaged.
    """
    manifest = read_manifest(folder)
    if format == manifest.config.format:
        return folder
    if format not in FORMATS:
        raise FdrdError(f"`format` {format!r}: choose from {', '.join(FORMATS)}")
    copy = work_folder(folder) / f"as-{format}"
    note = copy / "of.txt"
    is_complete = (copy / "manifest.json").is_file() and note.is_file()  # the manifest comes last
    if is_complete and note.read_text(encoding="utf-8") == manifest.digest:
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    shards: list[Shard] = []
    rows, named = manifest.records.kept, format == "parquet"
    columns = arrow_schema(manifest.categories, manifest.columns)
    with_names = arrow_schema(manifest.categories, manifest.columns, named=named)
    waiting = shard_file.named_images(with_names)
    for shard in manifest.shards:
        progress(f"writing {format}", sum(each.rows for each in shards), rows)
        source = folder / shard.path
        flaw = shard_file.file_flaw(source)
        if flaw or sha256_of(source) != shard.sha256:
            raise shard_file.DamageError(source, flaw or "its bytes differ from the manifest")
        path = shard.path.rpartition(".")[0] + f".{format}"
        with (
            atomic_write(copy / path) as file,
            shard_file.open_shard(file, columns, format) as write,
        ):
            for batch in shard_file.read_checked(source, shard, manifest):
                found = batch.to_pylist()
                images = [row["image"]["bytes"] for row in found]
                if named:
                    found = [shard_file.with_name(row, manifest.categories) for row in found]
                write(parse_rows([shard_file.encode_row(row) for row in found], waiting), images)
        size, digest = (copy / path).stat().st_size, sha256_of(copy / path)
        shards.append(replace(shard, path=path, bytes=size, sha256=digest))
    progress(f"writing {format}", rows, rows)
    link_or_copy(folder / "rejected.jsonl", copy / "rejected.jsonl")
    converted = replace(
        manifest,
        config=replace(manifest.config, format=format),
        shards=shards,
        digest=digest_of_shards(shards),
    )
    write_documents(copy, converted, progress)
    write_text(note, manifest.digest)
    write_text(copy / "manifest.json", dump(converted))
    return copy


def write_rejected(folder: Path, rejected: Sequence[Rejection]) -> Path:
    """Write `rejected.jsonl`, one line per rejection, and return its path."""
    file = folder / "rejected.jsonl"
    lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in rejected)
    write_text(file, "".join(lines))
    return file


def nothing_kept(rejected: Sequence[Rejection]) -> str:
    """Return the message for a source without usable records: counts, and an example of each reason.

    >>> nothing_kept([Rejection("pets.json", "x_1", "image_missing", "x_1.jpg")])
    'all 1 records were rejected: 1 image_missing, e.g. pets.json x_1: x_1.jpg'
    >>> nothing_kept([Rejection("1.jpg", "", "caption_missing", "1.jpg: no caption")])
    'all 1 records were rejected: 1 caption_missing, e.g. 1.jpg: no caption'
    >>> member = Rejection("photos.zip", "/etc/x.jpg", "path_outside", "/etc/x.jpg")
    >>> nothing_kept([member, Rejection("pets.json", "x", "path_outside", "/photos/pug/1.jpg")])[-80:]
    'inside of the source only: copy pets.json into /photos/pug and build that folder'
    """
    reasons = Counter(rejection.reason for rejection in rejected).most_common(3)
    examples = {rejection.reason: rejection for rejection in reversed(rejected)}
    text = "; ".join(f"{count} {reason}, e.g. {examples[reason]}" for reason, count in reasons)
    outside = [each for each in rejected if each.reason == "path_outside"]
    return f"all {len(rejected)} records were rejected: {text}{_common_folder(outside)}"


def _common_folder(outside: Sequence[Rejection]) -> str:
    """Return how to build from annotations with absolute paths, if the images have a folder in common."""
    found = [each for each in outside if each.detail.startswith("/")]
    found = [each for each in found if not each.file.lower().endswith((".zip", ".tar"))]
    folders = [posixpath.dirname(each.detail) for each in found]
    folder = posixpath.commonpath(folders) if folders else "/"
    if folder == "/":
        return ""
    return f". Images are read inside of the source only: copy {found[0].file} into {folder} and build that folder"
