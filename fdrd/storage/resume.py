"""What earlier runs left in the work folder next to the dataset, so that the next one repeats and replaces nothing.

Losing it costs only time.

- `last.json` has the digest of all inputs of the last build.
- `shards.jsonl` lists the complete shards of an interrupted one.
- `states.json` lists each file of the dataset with its digest, size, times and inode as they were when it was right, so
  that a changed one is found without reading all. A file whose numbers differ is hashed: links from the cache of
  `datasets` change the time of the inode, not the bytes.
- `source.json` names the source, so that a build replaces no dataset of another one unasked. Two sources are the same
  if their resolved paths are equal, or if they have the same files: equal relative paths and sizes. So a source may
  change, or move, or be copied; only a source that moved and changed is another one.
"""

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import msgspec

from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of, write_text
from fdrd.storage.manifest import Manifest, Shard, dump, library_versions, read_manifest
from fdrd.storage.publish import ledger_path, stage_folder, work_folder

DEFAULT_NAME = "fdrd"
DEFAULT_OUT = Path("data") / DEFAULT_NAME
_DAMAGED = (ValueError, RecursionError)
"""What a file of the work folder raises that a full disk or a power failure damaged."""
_MANIFEST = "manifest.json"
_DOCUMENTS = (_MANIFEST, "rejected.jsonl", "croissant.json")  # README.md may be edited
_ENDINGS = r"\.(zip|parquet|tgz|tar(\.\w+)?)$"  # of sources that are files


@dataclass(frozen=True, slots=True)
class SourceFingerprint:
    """Digest of the paths, sizes and modification times of all files of a source, and their number."""

    digest: str
    files: int
    lasting: str  # leaves out the times: a copy of the source has it, too


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
    try:
        text = (work_folder(out) / "last.json").read_bytes()
        last = msgspec.json.decode(text, type=dict[str, Any])
        manifest = read_manifest(out)
    except (OSError, FdrdError, *_DAMAGED):
        return False
    return last.get("inputs") == inputs and _are_unchanged(out, manifest)


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
    """Return {key: (folder, manifest entry)} of intact shards, by digest, from the last or an interrupted build."""
    candidates: list[tuple[Path, Shard]] = []
    if (out / _MANIFEST).is_file() and _is_own_manifest(out):
        with suppress(FdrdError):  # written by another version of fdrd
            candidates += [(out, entry) for entry in read_manifest(out).shards]
    if _journal(out).is_file():
        for line in _journal(out).read_bytes().splitlines():
            with suppress(*_DAMAGED):  # truncated by a kill
                candidates.append((stage_folder(out), msgspec.json.decode(line, type=Shard)))
    reusable = {}
    for folder, entry in candidates:
        with suppress(OSError, *_DAMAGED):
            file = folder / entry.path
            if file.stat().st_size == entry.bytes and sha256_of(file) == entry.sha256:
                reusable[entry.key] = (folder, entry)
    return reusable


def _journal(out: Path) -> Path:
    return work_folder(out) / "shards.jsonl"


class _States(msgspec.Struct):
    """Files of a build with digest and numbers, and the digest of the manifest of the build before."""

    files: dict[str, list[Any]] = {}
    before: list[str] = []

    def of_manifest(self) -> list[str]:
        """Return the digest of the manifest, if it is known."""
        return self.files.get(_MANIFEST, [])[:1]


def record_states(out: Path, manifest: Manifest) -> None:
    """Remember the files of a complete build in the stage folder, just before it replaces the last one."""
    stage = stage_folder(out)
    digests = {shard.path: shard.sha256 for shard in manifest.shards}
    digests |= {name: sha256_of(stage / name) for name in _DOCUMENTS}
    files = {path: [digest, *_numbers(stage / path)] for path, digest in digests.items()}
    _write_states(out, files, _read_states(out).of_manifest())


def refresh_states(out: Path) -> None:
    """Take over the new times of the inodes of files that were linked since, and forget the build before."""
    known = _read_states(out)
    changed = bool(known.before)
    for path, state in known.files.items():
        current = _numbers(out / path)
        if state[1:] != current and state[1:4] == current[:3]:
            state[1:], changed = current, True
    if changed:
        _write_states(out, known.files)


def distrust(out: Path) -> None:
    """Make the next run hash all files, because a check found one that is wrong."""
    if files := _read_states(out).files:
        with suppress(OSError):  # e.g. a dataset of somebody else
            _write_states(out, {path: state[:1] for path, state in files.items()})


def _are_unchanged(out: Path, manifest: Manifest) -> bool:
    """Return whether all files of a build are as they were written; hash those that may have changed."""
    files = _read_states(out).files
    if not files:  # the list is missing or damaged, so every shard is hashed
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
        _write_states(out, files)
    return True


def _is_own_manifest(out: Path) -> bool:
    """Return whether a build wrote the manifest; if it was edited since, its digests prove nothing."""
    known = _read_states(out)
    digests = [*known.of_manifest(), *known.before]
    return not known.files or sha256_of(out / _MANIFEST) in digests


def _read_states(out: Path) -> _States:
    with suppress(OSError, *_DAMAGED):
        text = (work_folder(out) / "states.json").read_bytes()
        known = msgspec.json.decode(text, type=_States)
        if _MANIFEST in known.files and all(known.files.values()):
            return known
    return _States()


def _write_states(out: Path, files: dict[str, list[Any]], before: Iterable[str] = ()) -> None:
    text = json.dumps({"before": list(before), "files": files}, indent=1)
    write_text(work_folder(out) / "states.json", text)


def _numbers(file: Path) -> list[int]:
    """Return size, time of modification, inode and its time; nothing unless it is a regular file."""
    try:
        status = file.stat()
    except OSError:
        return []
    if not S_ISREG(status.st_mode):
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


class Origin(msgspec.Struct, frozen=True):
    """The source of a build."""

    path: str  # of the folder or file, resolved
    files: str  # digest of the relative paths and sizes of its files (`SourceFingerprint.lasting`)

    @property
    def name(self) -> str:
        """A name for the dataset of this source, from the name of its folder or file."""
        stem = re.sub(_ENDINGS, "", Path(self.path).name.lower())
        return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-") or "dataset"


def write_origin(out: Path, origin: Origin) -> None:
    """Remember the source of a dataset that is about to be published."""
    write_text(work_folder(out) / "source.json", dump(origin))


def recorded_origin(out: Path) -> Origin | None:
    """Return the source of a dataset; None if the work folder is gone or damaged."""
    try:
        text = (work_folder(out) / "source.json").read_bytes()
        return msgspec.convert(json.loads(text), Origin)  # `msgspec.json` reads no lone surrogates
    except (OSError, *_DAMAGED):
        return None


def holds_other(out: Path, origin: Origin) -> bool:
    """Return whether a folder holds a finished dataset that is not known to be of this source."""
    if not (out / _MANIFEST).is_file():
        return False
    recorded = recorded_origin(out)
    return not recorded or (recorded.path != origin.path and recorded.files != origin.files)


def check_same_source(out: Path, origin: Origin) -> None:
    """Raise `FdrdError` if a folder holds a finished dataset that is not known to be of this source."""
    if holds_other(out, origin):
        raise FdrdError(
            f"{out} is a dataset {_described(out)}; give another `out`, or `replace` to replace it"
        )


def choose_default(origin: Origin, replace: bool = False) -> tuple[Path, str]:
    """Return folder and name of a build that names no folder: the defaults, or both after the source."""
    if replace or not holds_other(DEFAULT_OUT, origin):
        return DEFAULT_OUT, DEFAULT_NAME
    out = DEFAULT_OUT.with_name(origin.name)
    is_dataset = (out / _MANIFEST).is_file()
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if holds_other(out, origin) or not (is_dataset or is_free):
        raise FdrdError(
            f"{DEFAULT_OUT} is a dataset {_described(DEFAULT_OUT)}, and {out} exists, too; give another `out`"
        )
    return out, origin.name


def _described(out: Path) -> str:
    recorded = recorded_origin(out)
    return f"of {recorded.path}" if recorded else f"whose source {work_folder(out)} does not tell"
