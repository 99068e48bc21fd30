"""How a source is read, for `fdrd build --explain`, and what is not read, with the reason."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from fdrd.build_config import BuildConfig
from fdrd.images.check import check_image
from fdrd.reasons import Rejection
from fdrd.sources.domains import Domain, find_domains, near_misses, open_domain, read_domain
from fdrd.sources.readers import READERS
from fdrd.sources.reading.lines import load_json
from fdrd.sources.reading.names import is_image, unread_format
from fdrd.sources.reading.options import NO_OPTIONS, SourceOptions
from fdrd.sources.reading.source_folder import SourceFolder

_SAMPLES = 3
_STATS = "_stats.json"
_REJECTED = "rejected_captions.jsonl"  # drafts that `fdrd caption` refused
_NAMED = 5  # files in a message
_FEW = 3  # files that are named one by one
_LINK = "links to folders are not followed; move or copy the folder"
_OBJECTS = (
    "it lists objects (Pascal VOC), none of which is the category of the image; put the images in class folders, "
    "or give each a category in metadata.csv (file_name,category)"
)
_ANNOTATIONS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".token", ".xml", ".tar", ".zip")


def unread_folders(root: Path, domains: Sequence[Domain]) -> Iterator[Rejection]:
    """Yield a rejection for each folder with images next to the domains whose layout is unknown."""
    for name, folder in folders_beside(root, domains):
        if image := next(
            (path for path in folder.files if is_image(path) or unread_format(path)), None
        ):
            detail = (
                f"it holds {image}, and no reader knows its layout; "
                "`fdrd build --explain` says which layouts are close"
            )
            yield Rejection(name, "", "unreadable_annotations", detail)


def folders_beside(root: Path, domains: Sequence[Domain]) -> Iterator[tuple[str, SourceFolder]]:
    """Yield path and folder of each entry next to the domains that is not one."""
    known = {domain.path for domain in domains}
    if known == {"."}:
        return
    parent, source = posixpath.dirname(domains[0].path), SourceFolder(root)
    source = source.sub(parent) if parent else source
    for name in source.folders:
        if (path := posixpath.join(parent, name)) not in known:
            yield path, source.sub(name)


def unused_files(root: Path, domains: Sequence[Domain]) -> Iterator[tuple[str, str]]:
    """Yield what is not read, with the reason: links to folders, other images, files that look like annotations."""
    if [domain.path for domain in domains] != ["."]:
        links = (
            path.name for path in sorted(root.iterdir()) if path.is_symlink() and path.is_dir()
        )
        yield from ((name, _LINK) for name in links)
    for domain in domains:
        folder = open_domain(root, domain)
        prefix = "" if domain.path == "." else f"{domain.path}/"
        yield from ((prefix + path, _LINK) for path in folder.linked_folders)
        for files in _by_folder(filter(unread_format, folder.files)).values():
            why = f"{unread_format(files[0])} is not read; convert it to PNG or JPEG"
            yield prefix + _common_name(files), why
        used = {*READERS[domain.reader].used_files(folder), *folder.archives}
        yield from ((prefix + path, why) for path, why in _not_downloaded(folder, used))
        candidates = [
            path
            for path in folder.files
            if path.count("/") <= 1
            and path not in used
            and _looks_like_annotations(path)
            and posixpath.splitext(path)[0] + _STATS not in folder  # what img2dataset reports
        ]
        if not candidates:  # detection by every reader takes time in large folders
            continue
        readers = {
            file: name
            for name, reader in READERS.items()
            if name != domain.reader and reader.detect(folder)
            for file in reader.used_files(folder)
        }
        misses = list(filter(None, (reader.near_miss(folder) for reader in READERS.values())))
        for files in _by_folder(candidates).values():
            path = files[0]
            why = f"the folder is read as {domain.reader}"
            if path in readers:
                why += f"; the layout {readers[path]} reads this file instead"
            elif miss := next((miss for miss in misses if miss.startswith(f"{path} ")), ""):
                why = f"it{miss.removeprefix(path)}"
            elif b"<object>" in folder.start(path):
                why = _OBJECTS
            yield prefix + _common_name(files), why


def unused_text(root: Path, domains: Sequence[Domain]) -> str:
    """Return sentences about the first files that are not read, for a message; each reason is there once."""
    files_of: dict[str, list[str]] = defaultdict(list)
    for file, why in islice(unused_files(root, domains), _NAMED):
        files_of[why].append(file)
    return "".join(f". Not used: {', '.join(files)}: {why}" for why, files in files_of.items())


def _not_downloaded(folder: SourceFolder, used: set[str]) -> Iterator[tuple[str, str]]:
    """Yield how many images img2dataset reports as failed, unless their rows are read and rejected."""
    reports = [
        path
        for path in folder.files
        if path.endswith(_STATS) and f"{path.removesuffix(_STATS)}.parquet" not in used
    ]
    failed = 0
    for path in reports:
        try:
            counts = load_json(folder.start(path))
        except ValueError:
            continue
        if isinstance(counts, dict):
            missed = (counts.get(name) for name in ("failed_to_download", "failed_to_resize"))
            failed += sum(each for each in missed if isinstance(each, int))
    if failed:
        images = "1 image" if failed == 1 else f"{failed:,} images"
        why = (
            f"img2dataset failed to get {images}; error_message in the .parquet beside it says why"
        )
        yield reports[0] if len(reports) == 1 else f"*{_STATS} ({len(reports):,} files)", why


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Group many files with the same folder and ending; few stay alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[f"{posixpath.dirname(path)}/*{posixpath.splitext(path)[1]}"].append(path)
    many = {name: files for name, files in groups.items() if len(files) > _FEW}
    few = (path for name, files in groups.items() if name not in many for path in files)
    return {path: [path] for path in few} | many


def _common_name(files: list[str]) -> str:
    """Return the path of one file, or a pattern with the number of several.

    >>> _common_name(["a/1.xml", "a/2.xml"])
    'a/*.xml (2 files)'
    """
    if len(files) == 1:
        return files[0]
    folder, ending = posixpath.dirname(files[0]), posixpath.splitext(files[0])[1]
    return f"{posixpath.join(folder, '*')}{ending} ({len(files):,} files)"


def _looks_like_annotations(path: str) -> bool:
    name = PurePosixPath(path)
    if name.suffix.lower() in _ANNOTATIONS:
        return not name.name.endswith((_STATS, _REJECTED))
    return name.suffix.lower() == ".txt" and "/" not in path and "readme" not in path.lower()


def explain(root: Path, options: SourceOptions = NO_OPTIONS) -> Iterator[str]:
    """Yield lines about every domain, and about the folders that are not domains.

    Raises:
        FdrdError: the layout of the source is unknown; the message names the closest layouts.
    """
    domains = find_domains(root, options)
    for domain in domains:
        yield from _explain_domain(open_domain(root, domain), domain)
        yield from _samples(root, domain)
    for file, why in unused_files(root, domains):
        yield f"{file}: not used: {why}"
    for name, folder in folders_beside(root, domains):
        yield f"{name}: left out: unknown layout"
        for why in near_misses(folder):
            yield f"    {why.partition(': ')[2]}"


def _explain_domain(folder: SourceFolder, domain: Domain) -> Iterator[str]:
    yield f"{domain.name}: {domain.reader}, because {domain.why}"
    facts = [name for name, value in domain.about.to_json().items() if value]
    facts += ["group"] if domain.about.group else []
    if facts:
        yield f"    domain.toml gives {', '.join(facts)}"
    for name, reader in READERS.items():
        why = reader.detect(folder) if name != domain.reader else None
        if why:
            yield f"    {name} matches too, because {why}; {domain.reader} is tried first"


def _samples(root: Path, domain: Domain) -> Iterator[str]:
    """Yield lines about the first records, or the first rejection if there are none."""
    rejected = None
    items = iter(read_domain(root, domain, require_captions=False))
    for shown in range(_SAMPLES):
        for item in items:
            if not isinstance(item, Rejection):
                break
            rejected = rejected or item
        else:
            if not shown and rejected:
                place = f"{rejected.file}: {rejected.key}".removesuffix(": ")
                yield f"    no records; first rejection: {place}: {rejected.reason}: {rejected.detail}"[
                    :300
                ]
            return
        caption = item.caption[:80] + ("..." if len(item.caption) > 80 else "")
        yield f"    {item.image}: {caption or '(no caption)'}"[:300]
        yield f"        category: {item.category or 'none'}, split: {item.split or 'hashed'}"
        if item.image.member:  # reading one row of Parquet would unpack all of them
            continue
        if (check := check_image(str(root), item.image, BuildConfig().max_pixels)).reason:
            yield f"        rejected: {check.reason}: {check.detail}"[:300]
