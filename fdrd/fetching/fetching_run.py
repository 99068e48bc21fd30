"""Fetch a public set: find or download its files, check them, unpack them, and lay them out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.fetching.download import check_digest, download
from fdrd.fetching.table import PublicSet, RemoteFile, find_set, read_table
from fdrd.fetching.unpack import is_archive, unpack
from fdrd.files.atomic import atomic_folder
from fdrd.files.cache import cache_folder
from fdrd.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Where files come from.

    Attributes:
        local: folder with files that are here already, in it or in its subfolder with the name of the set.
        mirror: URL that replaces those of the table; it serves `<set>/<file>`.
        accept_unverified: whether files without a known digest are used.
        downloads: folder of the downloads; in the cache by default.
    """

    local: Path | None = None
    mirror: str = ""
    accept_unverified: bool = False
    downloads: Path | None = None


def fetch(
    name: str,
    out: str | Path,
    *,
    local: str | Path | None = None,
    mirror: str = "",
    accept_unverified: bool = False,
    progress: Progress = silent,
) -> Path:
    """Fetch a public set for `build`. Who calls this accepts the license and terms of the set.

    Args:
        name: name that `fdrd fetch` lists.
        out: new or empty folder; a failed call leaves nothing behind but downloads, which the next call uses.
        local: folder with files that are here already.
        mirror: URL with the files as `NAME/FILE`.
        accept_unverified: whether files without a known digest are used.
        progress: called with the number of bytes.

    Raises:
        FdrdError: as `fetch_set`, or there is no such set.
    """
    options = FetchOptions(Path(local) if local else None, mirror, accept_unverified)
    return fetch_set(find_set(name, read_table()), Path(out), options, progress)


def missing_by_hand(chosen: PublicSet, options: FetchOptions) -> list[str]:
    """Return what the user must do before the set can be fetched, one sentence per file."""
    folder = options.local or Path("archives")
    return [
        f"{file.name}: {file.by_hand} Put it into {folder} and give --from {folder}."
        for file in chosen.files
        if not file.url
        and not file.optional
        and not options.mirror
        and not _local(chosen, file, options)
    ]


def unverified(chosen: PublicSet, options: FetchOptions) -> list[str]:
    """Return the files that are needed and have no known digest."""
    return [
        file.name for file in chosen.files if not file.digest and _is_used(chosen, file, options)
    ]


def fetch_set(
    chosen: PublicSet,
    out: Path,
    options: FetchOptions = FetchOptions(),
    progress: Progress = silent,
) -> Path:
    """Write the set to a new folder, complete or not at all; return the folder.

    Raises:
        FdrdError: a file must be fetched by hand, has no known or another digest, cannot be downloaded, or is an
            archive that is refused.
    """
    if by_hand := missing_by_hand(chosen, options):
        raise FdrdError(f"{chosen.title} needs files that only you can get. " + " ".join(by_hand))
    if (names := unverified(chosen, options)) and not options.accept_unverified:
        raise FdrdError(
            f"no digest is known of {', '.join(names)}, so a changed file would go unnoticed; "
            "--accept-unverified uses them anyway"
        )
    downloads = (options.downloads or cache_folder() / "downloads") / chosen.name
    used = [file for file in chosen.files if _is_used(chosen, file, options)]
    _check_space(used, out)
    with atomic_folder(out) as stage:
        for file in used:
            path = _local(chosen, file, options)
            if path:
                check_digest(path, file.digest)
            else:
                url = f"{options.mirror.rstrip('/')}/{chosen.name}/{file.name}"
                url = url if options.mirror else file.url
                path = download(url, file.name, file.digest, downloads, progress)
            if not is_archive(file.name):
                shutil.copyfile(path, stage / file.name)
                continue
            progress(f"unpack {file.name}", 0, 1)
            unpack(path, stage, file.only, file.strip)
            if file.nested:
                unpack(stage / file.nested, stage)
                (stage / file.nested).unlink()
            progress(f"unpack {file.name}", 1, 1)
    return out


def _is_used(chosen: PublicSet, file: RemoteFile, options: FetchOptions) -> bool:
    return not file.optional or bool(_local(chosen, file, options))


def _local(chosen: PublicSet, file: RemoteFile, options: FetchOptions) -> Path | None:
    if options.local is None:
        return None
    paths = [options.local / chosen.name / file.name, options.local / file.name]
    return next((path for path in paths if path.is_file()), None)


def _check_space(files: list[RemoteFile], out: Path) -> None:
    """Raise `FdrdError` if the disk has no room for archives and contents."""
    needed = int(sum(file.mb for file in files) * 10**6 * 2)
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FdrdError(
            f"about {needed / 1e9:,.0f} GB are needed, and {folder} has {free / 1e9:,.0f} GB free"
        )
