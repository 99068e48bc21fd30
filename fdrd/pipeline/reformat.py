"""Convert a built dataset to the other shard format, e.g. to push Parquet while keeping Arrow."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec.structs import replace

from fdrd.build_config import FORMATS
from fdrd.columns import arrow_schema
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of, write_text
from fdrd.files.struct_table import parse_rows
from fdrd.pipeline.documents import write_documents
from fdrd.progress import Progress, silent
from fdrd.storage.checked_shards import DamageError, file_flaw, read_checked
from fdrd.storage.manifest import digest_of_shards, dump, read_manifest
from fdrd.storage.manifest_types import Manifest, Shard
from fdrd.storage.publish import link_or_copy, work_folder
from fdrd.storage.shard_file import encode_row, named_images, open_shard, with_name


def convert_dataset(folder: Path, format: str, progress: Progress = silent) -> Path:
    """Return a folder with the dataset in this format: itself, or a copy in the work folder next to it.

    The copy has the bytes that `fdrd build --format` writes, except for the shard keys in the manifest.

    Raises:
        FdrdError: the format is unknown, there is no dataset, or a shard is damaged.
    """
    manifest = read_manifest(folder)
    if format == manifest.config.format:
        return folder
    if format not in FORMATS:
        raise FdrdError(f"`format` {format!r}: choose from {', '.join(FORMATS)}")
    copy = work_folder(folder) / f"as-{format}"
    if _is_copy_of(copy, manifest):
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    shards: list[Shard] = []
    rows = manifest.records.kept
    columns = arrow_schema(manifest.categories, manifest.columns)
    named = format == "parquet"
    waiting = named_images(arrow_schema(manifest.categories, manifest.columns, named=named))
    for shard in manifest.shards:
        progress(f"writing {format}", sum(each.rows for each in shards), rows)
        source = folder / shard.path
        _check_digest(source, shard)
        path = shard.path.rpartition(".")[0] + f".{format}"
        with (
            atomic_write(copy / path) as file,
            open_shard(file, columns, format) as write,
        ):
            for batch in read_checked(source, shard, manifest.categories):
                found = batch.to_pylist()
                images = [row["image"]["bytes"] for row in found]
                if named:
                    found = [with_name(row, manifest.categories) for row in found]
                write(parse_rows([encode_row(row) for row in found], waiting), images)
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
    write_text(copy / "of.txt", manifest.digest)
    write_text(copy / "manifest.json", dump(converted))
    return copy


def _check_digest(path: Path, shard: Shard) -> None:
    """Raise `DamageError` if a shard is missing or does not have the digest that the manifest lists."""
    flaw = file_flaw(path)
    if not flaw and sha256_of(path) != shard.sha256:
        flaw = "its bytes differ from the manifest"
    if flaw:
        raise DamageError(path, flaw)


def _is_copy_of(copy: Path, manifest: Manifest) -> bool:
    """Return whether a complete copy of this build exists; its manifest is written last."""
    note = copy / "of.txt"
    return (
        (copy / "manifest.json").is_file()
        and note.is_file()
        and note.read_text(encoding="utf-8") == manifest.digest
    )
