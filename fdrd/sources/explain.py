"""How a source is read, for `fdrd build --explain`, and what is not read, with the reason."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from fdrd.build_config import BuildConfig
from fdrd.images.check import check_image
from fdrd.reasons import Rejection
from fdrd.sources.domains import Domain, find_domains, near_misses, open_domain, read_domain
from fdrd.sources.layouts import READERS
from fdrd.sources.reading.columns import NO_OPTIONS, SourceOptions
from fdrd.sources.reading.lines import load_json
from fdrd.sources.reading.names import is_image, unread_format
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_MAX_PIXELS = BuildConfig().max_pixels
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
    remedy = "`fdrd build --explain` says which layouts are close"
    for name, folder in folders_beside(root, domains):
        images = (path for path in folder.files if is_image(path) or unread_format(path))
        if image := next(images, ""):
            detail = f"it holds {image}, and no reader knows its layout; {remedy}"
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
        links = (path for path in sorted(root.iterdir()) if path.is_symlink() and path.is_dir())
        yield from ((path.name, _LINK) for path in links)
    for domain in domains:
        folder = open_domain(root, domain)
        prefix = "" if domain.path == "." else f"{domain.path}/"
        yield from ((prefix + path, _LINK) for path in folder.linked_folders)
        for path, name in _grouped(filter(unread_format, folder.files), prefix):
            yield name, f"{unread_format(path)} is not read; convert it to PNG or JPEG"
        used = {*READERS[domain.reader].used_files(folder), *folder.archives}
        yield from ((prefix + path, why) for path, why in _not_downloaded(folder, used))
        candidates = [path for path in folder.files if path not in used and _unused(folder, path)]
        if not candidates:  # detection by every reader takes time in large folders
            continue
        others = {name: READERS[name] for name in READERS if name != domain.reader}
        fitting = [(name, reader) for name, reader in others.items() if reader.detect(folder)]
        readers = {file: name for name, reader in fitting for file in reader.used_files(folder)}
        misses = list(filter(None, (reader.near_miss(folder) for reader in READERS.values())))
        for path, name in _grouped(candidates, prefix):
            why = f"the folder is read as {domain.reader}"
            if path in readers:
                why += f"; the layout {readers[path]} reads this file instead"
            elif miss := next((miss for miss in misses if miss.startswith(f"{path} ")), ""):
                why = f"it{miss.removeprefix(path)}"
            elif b"<object>" in folder.start(path):
                why = _OBJECTS
            yield name, why


def unused_text(root: Path, domains: Sequence[Domain]) -> str:
    """Return sentences about the first files that are not read, for a message; each reason is there once."""
    files_of: dict[str, list[str]] = defaultdict(list)
    for file, why in islice(unused_files(root, domains), _NAMED):
        files_of[why].append(file)
    return "".join(f". Not used: {', '.join(files)}: {why}" for why, files in files_of.items())


def _not_downloaded(folder: SourceFolder, used: set[str]) -> Iterator[tuple[str, str]]:
    """Yield how many images img2dataset reports as failed, unless their rows are read and rejected."""
    failed, reports = 0, []
    for path in folder.files:
        if path.endswith(_STATS) and f"{path.removesuffix(_STATS)}.parquet" not in used:
            reports.append(path)
            with suppress(RejectedError, AttributeError):  # no JSON, or no object
                counts = load_json(folder.start(path)).get
                missed = counts("failed_to_download"), counts("failed_to_resize")
                failed += sum(each for each in missed if isinstance(each, int))
    if failed:
        images = "1 image" if failed == 1 else f"{failed:,} images"
        name = reports[0] if len(reports) == 1 else f"*{_STATS} ({len(reports):,} files)"
        why = (
            f"img2dataset failed to get {images}; error_message in the .parquet beside it says why"
        )
        yield name, why


def _grouped(paths: Iterable[str], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield each file with its full name; of many in a folder with the same ending only the first, with a pattern."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, ending = posixpath.dirname(path), posixpath.splitext(path)[1]
        groups[f"{posixpath.join(folder, '*')}{ending}"].append(path)
    for pattern, files in groups.items():
        if len(files) > _FEW:
            yield files[0], f"{prefix}{pattern} ({len(files):,} files)"
        else:
            yield from ((path, f"{prefix}{path}") for path in files)


def _unused(folder: SourceFolder, path: str) -> bool:
    """Return whether a file that is not read looks like annotations."""
    name, ending = posixpath.basename(path), posixpath.splitext(path)[1].lower()
    if ending == ".txt":
        return "/" not in path and "readme" not in path.lower()
    return (
        ending in _ANNOTATIONS
        and path.count("/") <= 1
        and not name.endswith((_STATS, _REJECTED))
        and posixpath.splitext(path)[0] + _STATS not in folder  # what img2dataset reports
    )


def explain(root: Path, options: SourceOptions = NO_OPTIONS) -> Iterator[str]:
    """Yield lines about every domain, and about the folders that are not domains.

    Raise `FdrdError` if the layout of the source is unknown; the message names the closest layouts.
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
        if name != domain.reader and (why := reader.detect(folder)):
            yield f"    {name} matches too, because {why}; {domain.reader} is tried first"


def _samples(root: Path, domain: Domain) -> Iterator[str]:
    """Yield lines about the first records, or the first rejection if there are none."""
    rejected, records = None, 0
    for item in read_domain(root, domain, require_captions=False):
        if isinstance(item, Rejection):
            rejected = rejected or item
            continue
        caption = item.caption[:80] + ("..." if len(item.caption) > 80 else "")
        yield f"    {item.image}: {caption or '(no caption)'}"[:300]
        yield f"        category: {item.category or 'none'}, split: {item.split or 'hashed'}"
        # Reading one row of Parquet would unpack all of them.
        check = None if item.image.member else check_image(str(root), item.image, _MAX_PIXELS)
        if check and check.reason:
            yield f"        rejected: {check.reason}: {check.detail}"[:300]
        records += 1
        if records == _SAMPLES:
            return
    if rejected and not records:
        position = f"{rejected.file}: {rejected.key}".removesuffix(": ")
        why = f"{rejected.reason}: {rejected.detail}"
        yield f"    no records; first rejection: {position}: {why}"[:300]
