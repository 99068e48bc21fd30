"""What an earlier run left that this one can use: whole shards, and the proof that nothing changed.

It lies in the work folder beside the dataset, and losing it costs time only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of, write_text
from fdrd.storage.manifest import dump, library_versions, read_manifest
from fdrd.storage.publish import work_folder
from fdrd.storage.shard_file import digests_path


@dataclass(frozen=True, slots=True)
class Tree:
    """The files below a folder: a digest of their paths, sizes and times of change, and their number."""

    digest: str
    files: int


def fingerprint_source(root: Path) -> Tree:
    """All files below a folder, without opening one. Links to folders are not followed."""
    digest, files = hashlib.sha256(), 0
    folders = [os.fspath(root)]
    while folders:
        folder = folders.pop()
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            try:
                status = entry.stat()
            except OSError:  # a link to nothing
                status = entry.stat(follow_symlinks=False)
            said = f"{entry.path[len(os.fspath(root)) :]}\0{status.st_size} {status.st_mtime_ns}\n"
            digest.update(said.encode("utf-8", "surrogatepass"))
            files += 1
    return Tree(digest.hexdigest(), files)


def inputs_digest(settings: Any, domains: Iterable[object], tree: Tree) -> str:
    """Digest of all that determines a build: settings, libraries, layouts, and the files of the source."""
    said = [settings, library_versions(), [repr(domain) for domain in domains], tree.digest]
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogatepass")).hexdigest()


def is_built_from(out: Path, inputs: str) -> bool:
    """Whether the dataset was built from these very inputs and its shards have their sizes."""
    last = work_folder(out) / "last.json"
    if not last.is_file() or not (out / "manifest.json").is_file():
        return False
    if json.loads(last.read_text(encoding="utf-8")).get("inputs") != inputs:
        return False
    files = [(out / shard["path"], shard["bytes"]) for shard in read_manifest(out)["shards"]]
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def log_build(out: Path, inputs: str | None, started: float, workers: int) -> None:
    """Writes what the manifest must not hold: time, host, workers, and the digest of the inputs.

    `inputs` is None where the next run must look again, as after a read error.
    """
    last = {
        "inputs": inputs,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.time() - started, 1),
        "host": platform.node(),
        "workers": workers,
    }
    write_text(work_folder(out) / "last.json", dump(last))
    _journal(out).unlink(missing_ok=True)


def note_shard(out: Path, entry: Mapping[str, Any]) -> None:
    """Remembers a shard that is whole, so that an interrupted build need not write it again."""
    with _journal(out).open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(entry) + "\n")


def whole_shards(out: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Folder and manifest entry, by key, of every shard of the last build or of an interrupted one.

    Each is digested again: a shard that was damaged since is not used.
    """
    candidates: list[tuple[Path, dict[str, Any]]] = []
    if (out / "manifest.json").is_file():
        with suppress(FdrdError):  # of another version of fdrd: its shards are of no use
            candidates += [(out, entry) for entry in read_manifest(out)["shards"]]
    if _journal(out).is_file():
        stage = work_folder(out) / "stage"
        for line in _journal(out).read_text(encoding="utf-8").splitlines():
            try:
                candidates.append((stage, json.loads(line)))
            except ValueError:
                continue  # cut short by a kill
    return {
        entry["key"]: (folder, entry) for folder, entry in candidates if _is_whole(folder, entry)
    }


def _is_whole(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a shard, and the digests of its rows, are still what was written."""
    file, rows = folder / entry["path"], folder / digests_path(entry["path"])
    if not file.is_file() or file.stat().st_size != entry["bytes"] or not rows.is_file():
        return False
    found = (sha256_of(file), sha256_of(rows))
    return found == (entry["sha256"], entry["rows_sha256"])


def _journal(out: Path) -> Path:
    return work_folder(out) / "shards.jsonl"
