"""A built dataset in the other format of shards, so that it can be pushed as Parquet and kept as Arrow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fdrd.build_config import FORMATS
from fdrd.errors import FdrdError
from fdrd.files.atomic import replacing, sha256_of, write_text
from fdrd.pipeline.documents import write_documents
from fdrd.progress import Progress, silent
from fdrd.record import features
from fdrd.storage.manifest import digest_of_shards, dump, read_manifest
from fdrd.storage.publish import link_or_copy, work_folder
from fdrd.storage.shard_file import digests_path, open_shard, read_batches


def in_format(folder: Path, format: str | None, progress: Progress = silent) -> Path:
    """The folder of the dataset in this format: itself, or a copy in the work folder beside it.

    The copy has the bytes that `fdrd build --format` writes, but for the shards' keys in the manifest.

    Raises:
        FdrdError: there is no such format, or no dataset.
    """
    manifest = read_manifest(folder)
    if format in (None, manifest["config"]["format"]):
        return folder
    if format not in FORMATS:
        raise FdrdError(f"--format {format!r}: choose from {', '.join(FORMATS)}")
    copy = work_folder(folder) / f"as-{format}"
    if _is_copy_of(copy, manifest):
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    shards: list[dict[str, Any]] = []
    rows = manifest["records"]["kept"]
    columns = features(manifest["categories"]).arrow_schema
    for shard in manifest["shards"]:
        progress(f"writing {format}", sum(each["rows"] for each in shards), rows)
        source = folder / shard["path"]
        path = shard["path"].rpartition(".")[0] + f".{format}"
        with (
            replacing(copy / path) as file,
            open_shard(file, columns, format) as write,
        ):
            for batch in read_batches(source):
                write(batch.to_pylist())
        link_or_copy(folder / digests_path(shard["path"]), copy / digests_path(path))
        size, digest = (copy / path).stat().st_size, sha256_of(copy / path)
        shards.append({**shard, "path": path, "bytes": size, "sha256": digest})
    progress(f"writing {format}", rows, rows)
    link_or_copy(folder / "rejected.jsonl", copy / "rejected.jsonl")
    made = {
        **manifest,
        "config": {**manifest["config"], "format": format},
        "shards": shards,
        "digest": digest_of_shards(shards),
    }
    write_documents(copy, made, progress)
    write_text(copy / "of.txt", manifest["digest"])
    write_text(copy / "manifest.json", dump(made))
    return copy


def _is_copy_of(copy: Path, manifest: dict[str, Any]) -> bool:
    """Whether a whole copy of this very build is there; its manifest is written last."""
    note = copy / "of.txt"
    return (
        (copy / "manifest.json").is_file()
        and note.is_file()
        and note.read_text(encoding="utf-8") == manifest["digest"]
    )
