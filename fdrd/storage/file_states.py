"""Remember which files a build wrote, so that the next run finds a changed one without reading all of them.

`<out>.work/states.json` lists each file with its digest, size, times and inode as they were when it was right.
A file whose numbers differ is hashed: links from the cache of `datasets` change the time of the inode, not the bytes.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

from fdrd.files.atomic import sha256_of, write_text
from fdrd.storage.manifest_types import Manifest
from fdrd.storage.publish import work_folder

_DOCUMENTS = ("manifest.json", "rejected.jsonl", "croissant.json")  # README.md may be edited
_MANIFEST = "manifest.json"


def record_states(out: Path, manifest: Manifest) -> None:
    """Remember the files of a complete build in the stage folder, just before it replaces the last one."""
    stage = work_folder(out) / "stage"
    digests = {shard.path: shard.sha256 for shard in manifest.shards}
    digests |= {name: sha256_of(stage / name) for name in _DOCUMENTS}
    files = {path: [digest, *_numbers(stage / path)] for path, digest in digests.items()}
    last = _digest_of_manifest(_read(out))
    _write(out, files, [digest for digest in (last,) if digest])


def refresh_states(out: Path) -> None:
    """Take over the new times of the inodes of files that were linked since, and forget the build before."""
    known = _read(out)
    files = known.get("files", {})
    changed = bool(known.get("before"))
    for path, state in files.items():
        current = _numbers(out / path)
        if state[1:] != current and state[1:4] == current[:3]:
            state[1:], changed = current, True
    if changed:
        _write(out, files, [])


def are_unchanged(out: Path, manifest: Manifest) -> bool:
    """Return whether all files of a build are as they were written; hash those that may have changed."""
    files = _read(out).get("files")
    if files is None:  # the list is missing or damaged, so every shard is hashed
        files = {shard.path: [shard.sha256] for shard in manifest.shards}
    if any(shard.path not in files for shard in manifest.shards):
        return False
    hashed = False
    for path, (digest, *state) in files.items():
        current = _numbers(out / path)
        if not current:
            return False
        if current != state:
            if sha256_of(out / path) != digest:
                return False
            files[path], hashed = [digest, *current], True
    if hashed:
        for name in _DOCUMENTS:
            if name not in files and (out / name).is_file():
                files[name] = [sha256_of(out / name), *_numbers(out / name)]
        _write(out, files, [])
    return True


def is_own_manifest(out: Path) -> bool:
    """Return whether a build wrote the manifest; if it was edited since, its digests prove nothing."""
    known = _read(out)
    return not known or sha256_of(out / _MANIFEST) in (
        _digest_of_manifest(known),
        *known.get("before", ()),
    )


def distrust(out: Path) -> None:
    """Make the next run hash all files, because a check found one that is wrong."""
    if files := _read(out).get("files"):
        with suppress(OSError):  # e.g. a dataset of somebody else
            _write(out, {path: state[:1] for path, state in files.items()}, [])


def _read(out: Path) -> dict[str, Any]:
    try:
        found = json.loads((work_folder(out) / "states.json").read_bytes())
        files, before = found["files"], found["before"]
        is_whole = _MANIFEST in files and all(len(state) for state in files.values())
        return {"files": files, "before": list(before)} if is_whole else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(out: Path, files: dict[str, list[Any]], before: list[str]) -> None:
    text = json.dumps({"before": before, "files": files}, indent=1)
    write_text(work_folder(out) / "states.json", text)


def _numbers(file: Path) -> list[int]:
    """Return size, time of modification, inode and its time; nothing unless it is a regular file."""
    try:
        found = file.stat()
    except OSError:
        return []
    if not S_ISREG(found.st_mode):
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns]


def _digest_of_manifest(known: dict[str, Any]) -> str:
    state = known.get("files", {}).get(_MANIFEST)
    return str(state[0]) if state else ""
