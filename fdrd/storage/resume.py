"""Find what an earlier run left for reuse: complete shards, and a digest that shows that nothing changed.

This state lives in the work folder next to the dataset. Losing it costs only time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of, write_text
from fdrd.storage.file_states import are_unchanged, is_own_manifest
from fdrd.storage.manifest import dump, library_versions, read_manifest
from fdrd.storage.manifest_types import Shard
from fdrd.storage.publish import ledger_path, stage_folder, work_folder

_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What a file of the work folder raises that a full disk or a power failure damaged."""


@dataclass(frozen=True, slots=True)
class SourceFingerprint:
    """Digest of the paths, sizes and modification times of all files of a source, and their number.

    `lasting` leaves out the times: a copy of the source has it, too.
    """

    digest: str
    files: int
    lasting: str


def fingerprint_source(root: Path) -> SourceFingerprint:
    """Fingerprint all files below a folder without opening them. Links to folders are not followed."""
    digest, lasting, files = hashlib.sha256(), hashlib.sha256(), 0
    top = os.fspath(root)
    folders = [top]
    while folders:
        folder = folders.pop()
        lines, below = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                    continue
                try:
                    status = entry.stat()
                except OSError:  # a broken link
                    status = entry.stat(follow_symlinks=False)
                lines.append((f"{entry.name}\0{status.st_size}", status.st_mtime_ns))
        if lines:  # names contain no NUL, and only a folder's is followed by the end of the line
            lines.sort()
            head = f"{folder[len(top) :]}\0\n"
            text = "".join(f"{line} {time}\n" for line, time in lines)
            digest.update(f"{head}{text}".encode("utf-8", "surrogatepass"))
            text = "".join(f"{line}\n" for line, _ in lines)
            lasting.update(f"{head}{text}".encode("utf-8", "surrogatepass"))
        folders += sorted(below)
        files += len(lines)
    return SourceFingerprint(digest.hexdigest(), files, lasting.hexdigest())


def inputs_digest(settings: Any, domains: Iterable[object], source: str) -> str:
    """Return a digest of everything that determines a build: JSON of the options, domains, digest of the files."""
    inputs = [settings, library_versions(), [repr(domain) for domain in domains], source]
    return hashlib.sha256(json.dumps(inputs).encode("utf-8", "surrogatepass")).hexdigest()


def is_built_from(out: Path, inputs: str) -> bool:
    """Return whether the dataset was built from these inputs and all its files are as they were written."""
    last = work_folder(out) / "last.json"
    if not last.is_file() or not (out / "manifest.json").is_file():
        return False
    try:
        if json.loads(last.read_bytes())["inputs"] != inputs:
            return False
        manifest = read_manifest(out)
    except (FdrdError, *_DAMAGED):
        return False
    return are_unchanged(out, manifest)


def log_build(out: Path, inputs: str | None, started: float, workers: int) -> None:
    """Write what the manifest must not contain: time, host, workers, and the digest of the inputs.

    `inputs` is None if the next run must build again, e.g. after a read error.
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


def forget_if_changed(out: Path, root: Path, before: SourceFingerprint) -> None:
    """Forget inputs and image checks if the source changed during a build: they may be of other contents.

    Otherwise a file that gets its old contents and time back would look as if it had been read.
    """
    try:
        changed = fingerprint_source(root) != before
    except OSError:
        changed = True
    if changed:
        (work_folder(out) / "last.json").unlink(missing_ok=True)
        ledger_path(out).unlink(missing_ok=True)


def record_shard(out: Path, entry: Shard) -> None:
    """Remember a complete shard, so that the next run need not write it again."""
    with _journal(out).open("a", encoding="utf-8") as journal:
        journal.write(msgspec.json.encode(entry).decode() + "\n")


def reusable_shards(out: Path) -> dict[str, tuple[Path, Shard]]:
    """Return {key: (folder, manifest entry)} of intact shards from the last or an interrupted build.

    Every file is hashed again, so a damaged shard is not reused.
    """
    candidates: list[tuple[Path, Shard]] = []
    if (out / "manifest.json").is_file() and is_own_manifest(out):
        with suppress(FdrdError):  # written by another version of fdrd
            candidates += [(out, entry) for entry in read_manifest(out).shards]
    if _journal(out).is_file():
        for line in _journal(out).read_bytes().splitlines():
            with suppress(*_DAMAGED):  # truncated by a kill
                candidates.append((stage_folder(out), msgspec.json.decode(line, type=Shard)))
    found = {}
    for folder, entry in candidates:
        with suppress(OSError, *_DAMAGED):
            file = folder / entry.path
            if file.stat().st_size == entry.bytes and sha256_of(file) == entry.sha256:
                found[entry.key] = (folder, entry)
    return found


def _journal(out: Path) -> Path:
    return work_folder(out) / "shards.jsonl"
