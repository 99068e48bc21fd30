"""Fetch public sets: find or download their files, check them, unpack them, and lay them out.

`sources.toml` is the table of the sets.
"""

from __future__ import annotations

import json
import shutil
import threading
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdrd.errors import FdrdError
from fdrd.fetching.download import check_digest, download, is_archive, unpack
from fdrd.files.atomic import atomic_folder
from fdrd.files.paths import cache_folder
from fdrd.progress import Progress, silent
from fdrd.sources.domain_file import NAME as DOMAIN_FILE


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a set; `sources.toml` describes the fields."""

    name: str
    url: str = ""
    digest: str = ""
    mb: float = 0
    only: str = "*"
    strip: int = 0
    nested: str = ""
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A public set of images, with captions if someone published them; `sources.toml` describes the fields."""

    name: str
    title: str
    license: str
    terms: str
    files: tuple[RemoteFile, ...]
    citation: str = ""
    images: int = 0
    captions: str = ""
    captions_license: str = ""
    captions_terms: str = ""
    note: str = ""

    @property
    def mb(self) -> float:
        """Approximate size of all files in MB."""
        return sum(file.mb for file in self.files)


@dataclass(frozen=True, slots=True)
class Collection:
    """Several public sets that are fetched together, each into a folder of its own."""

    name: str
    title: str
    sets: tuple[PublicSet, ...]


def read_table() -> dict[str, PublicSet]:
    """Return the sets by name."""
    tables = _tables()
    shared = {name: fields for fields in tables.values() for name in fields.get("sets", ())}
    files = {name: fields for name, fields in tables.items() if "files" in fields}
    return {name: _public_set(name, fields, shared.get(name, {})) for name, fields in files.items()}


def read_collections(table: dict[str, PublicSet]) -> dict[str, Collection]:
    """Return the collections by name, with sets of the table."""
    groups = {name: fields for name, fields in _tables().items() if "sets" in fields}
    return {
        name: Collection(name, fields["title"], tuple(table[each] for each in fields["sets"]))
        for name, fields in groups.items()
    }


def find(name: str) -> PublicSet | Collection:
    """Return a set or collection by name; case, spaces and hyphens do not matter. Raise `FdrdError` if unknown."""
    table = read_table()
    known: dict[str, PublicSet | Collection] = {**read_collections(table), **table}
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if plain not in known:
        raise FdrdError(f"no public set {name!r}; choose from {', '.join(known)}")
    return known[plain]


def _public_set(name: str, fields: dict[str, Any], collection: dict[str, Any]) -> PublicSet:
    """Return a set, completed by what its collection says about the captions."""
    named = tuple(
        RemoteFile(**{"name": each.get("url", "").rpartition("/")[2], **each})
        for each in fields["files"]
    )
    citation = f"{fields.get('citation', '')} {collection.get('citation', '')}".strip()
    about = {f"captions_{key}": collection[key] for key in ("license", "terms") if collection}
    return PublicSet(name, **{**fields, **about, "files": named, "citation": citation})


def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads((files("fdrd.fetching") / "sources.toml").read_text("utf-8"))


SIDE_BY_SIDE = 4
"""Sets that are fetched at a time. Most come from servers of their own."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Where files come from.

    `local` is a folder with files that are here already, in it or in its subfolder with the name of the set. `mirror`
    is a URL that replaces those of the table; it serves `<set>/<file>`. `accept_unverified` uses files without a known
    digest. `downloads` is the folder of the downloads, with a subfolder per set; in the cache by default.
    """

    local: Path | None = None
    mirror: str = ""
    accept_unverified: bool = False
    downloads: Path = field(default_factory=lambda: cache_folder() / "downloads")


def fetch(
    name: str,
    out: str | Path,
    *,
    local: str | Path | None = None,
    mirror: str = "",
    accept_unverified: bool = False,
    progress: Progress = silent,
) -> Path:
    """Fetch a public set for `build`, or several. Who calls this accepts their licenses and terms.

    Args:
        name: name that `fdrd fetch` lists.
        out: new or empty folder; a failed call leaves nothing behind but downloads, which the next call uses.
            For several sets, the folder of their folders: sets that are in it already are kept.
        local: folder with files that are here already.
        mirror: URL with the files as `NAME/FILE`.
        accept_unverified: whether files without a known digest are used.
        progress: called with the number of bytes.

    Raises:
        FdrdError: as `fetch_set` or `fetch_sets`, or there is no such set.
    """
    options = FetchOptions(Path(local) if local else None, mirror, accept_unverified)
    chosen = find(name)
    if isinstance(chosen, Collection):
        return fetch_sets(chosen.sets, Path(out), options, progress)
    return fetch_set(chosen, Path(out), options, progress)


def missing_by_hand(chosen: PublicSet, options: FetchOptions) -> list[str]:
    """Return what the user must do before the set can be fetched, one sentence per file."""
    folder = (options.local or options.downloads) / chosen.name
    found = []
    for file in chosen.files:
        if not file.url and not options.mirror and not _local(chosen, file, options):
            contents = _contents(file)
            form = f"it, or a folder {contents} with its images," if contents else "it"
            remedy = f"Put {form} into {folder} and run the command again."
            found.append(f"{file.name}: {file.by_hand} {remedy}")
    return found


def unverified(chosen: PublicSet, options: FetchOptions) -> list[str]:
    """Return the files that have no known digest, and the folders that stand for an archive."""
    paths = {file: _local(chosen, file, options) for file in chosen.files}
    folders = {file: f"{path}/" for file, path in paths.items() if path and path.is_dir()}
    return [folders.get(file, file.name) for file in paths if file in folders or not file.digest]


def is_fetched(chosen: PublicSet, folder: Path) -> bool:
    """Return whether the folder of several sets has this one. A set appears when it is complete."""
    return (folder / chosen.name / DOMAIN_FILE).is_file()


def fetch_sets(
    sets: Sequence[PublicSet], folder: Path, options: FetchOptions, progress: Progress = silent
) -> Path:
    """Fetch sets side by side, each into the folder of its name; keep those that are there; return the folder.

    A set that fails does not stop the others: raise `FdrdError` at the end, with a line for each, as of `fetch_set`.
    Raise `OSError` if the disk is full or cannot be written; then nothing else is started.
    """
    wanted = [each for each in sets if not is_fetched(each, folder)]
    for each in sets:
        if each not in wanted:
            progress(f"{each.name} | is in {folder} already", 1, 1)
    _check_space(wanted, folder, options)
    stopped = threading.Event()

    def report(stage: str, done: int, total: int) -> None:
        if stopped.is_set():
            raise FdrdError("stopped")
        progress(stage, done, total)

    failed: dict[str, FdrdError] = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            running = {
                pool.submit(fetch_set, each, folder / each.name, options, report): each.name
                for each in wanted
            }
            for future in as_completed(running):
                try:
                    future.result()
                except FdrdError as error:
                    failed[running[future]] = error
        except BaseException:  # Ctrl-C, or a full disk
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        names = [each.name for each in wanted if each.name in failed]
        raise FdrdError("\n".join(f"{name}: {failed[name]}" for name in names))
    return folder


def fetch_set(
    chosen: PublicSet, out: Path, options: FetchOptions, progress: Progress = silent
) -> Path:
    """Write the set to a new folder, complete or not at all; return the folder.

    Raise `FdrdError` if a file must be fetched by hand, has no known or another digest, cannot be downloaded, or is an
    archive that is refused, and `OSError` if the disk is full or cannot be written.
    """
    if by_hand := missing_by_hand(chosen, options):
        raise FdrdError(f"{chosen.title} needs files that only you can get. " + " ".join(by_hand))
    if (names := unverified(chosen, options)) and not options.accept_unverified:
        why = "so a changed file would go unnoticed; `accept_unverified` uses them anyway"
        raise FdrdError(f"no digest is known of {', '.join(names)}, {why}")
    _check_space([chosen], out, options)
    with atomic_folder(out) as stage:
        for file in chosen.files:
            _lay_out(chosen, file, stage, options, progress)
        (stage / DOMAIN_FILE).write_text(_about(chosen), encoding="utf-8")
    return out


def _lay_out(
    chosen: PublicSet, file: RemoteFile, stage: Path, options: FetchOptions, progress: Progress
) -> None:
    """Put a file of the set, or the contents of an archive, into a folder."""
    path = _local(chosen, file, options)
    if path and path.is_dir():
        shutil.copytree(path, stage / path.name, symlinks=True)
        return
    if path:
        check_digest(path, file.digest, _contents(file))
    else:
        mirrored = f"{options.mirror.rstrip('/')}/{chosen.name}/{file.name}"
        url = mirrored if options.mirror else file.url
        folder = options.downloads / chosen.name
        path = download(url, file.name, file.digest, folder, progress, file.mb)
    if not is_archive(file.name):
        shutil.copyfile(path, stage / file.name)
        return
    unpack(path, stage, file.only, file.strip, progress)
    if file.nested:
        unpack(stage / file.nested, stage, progress=progress)
        (stage / file.nested).unlink()


def _about(chosen: PublicSet) -> str:
    """Return the `domain.toml` of a set."""
    license = "" if chosen.license == "unknown" else chosen.license
    facts = {"license": license, "homepage": chosen.terms, "citation": chosen.citation}
    known = {key: json.dumps(text, ensure_ascii=False) for key, text in facts.items() if text}
    return "".join(f"{key} = {text}\n" for key, text in known.items())


def _local(chosen: PublicSet, file: RemoteFile, options: FetchOptions) -> Path | None:
    """Return the file where the user put it, or the folder with the contents of an archive."""
    folders = [options.local / chosen.name, options.local] if options.local else []
    if not file.url:
        folders.append(options.downloads / chosen.name)
    files = [path for folder in folders if (path := folder / file.name).is_file()]
    contents = [folder / name for folder in folders] if (name := _contents(file)) else []
    return next(iter([*files, *(path for path in contents if path.is_dir())]), None)


def _contents(file: RemoteFile) -> str:
    """Return the name of a folder that may stand for an archive that only the user can get, else nothing.

    >>> _contents(RemoteFile("cars_train.tgz", by_hand="Get it.")), _contents(RemoteFile("a.json", by_hand="Get it."))
    ('cars_train', '')
    """
    if file.url or file.only != "*" or not is_archive(file.name):
        return ""
    return file.name.partition(".")[0]


def _check_space(sets: Iterable[PublicSet], out: Path, options: FetchOptions) -> None:
    """Raise `FdrdError` if a disk has no room for the downloads or their contents."""
    needed: Counter[int] = Counter()  # bytes, by device
    folders = [folder.absolute() for folder in (out, options.downloads)]
    disks = [next(each for each in (path, *path.parents) if each.exists()) for path in folders]
    for each in sets:
        for file in each.files:
            here = _local(each, file, options) or options.downloads / each.name / file.name
            for disk in disks[:1] if here.exists() else disks:
                needed[disk.stat().st_dev] += int(file.mb * 10**6)
    for disk in disks:
        size, free = needed[disk.stat().st_dev], shutil.disk_usage(disk).free
        if size > free:
            remedy = "free some space, choose another folder, or name another cache with FDRD_CACHE"
            sizes = (
                f"about {size / 1e9:,.0f} GB are needed, and {disk} has {free / 1e9:,.0f} GB free"
            )
            raise FdrdError(f"{sizes}; {remedy}")
