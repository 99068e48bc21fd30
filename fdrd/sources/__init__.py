"""Readers of raw sources: one module per layout in `layouts/`, shared parts in `reading/`.

May import `fdrd.files`, `fdrd.text`, `fdrd.images` and the types below them. Others use `find_domains`,
`read_domain` and `unread_folders`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record
from fdrd.sources import layouts
from fdrd.sources.domain_file import NO_INFO, DomainCompleter, DomainInfo, read_domain_file
from fdrd.sources.reading.names import SPLIT_OF_WORD, is_image
from fdrd.sources.reading.options import NO_OPTIONS, SourceOptions, make_options
from fdrd.sources.reading.source_folder import SourceFolder

__all__ = [
    "READERS",
    "Domain",
    "Reader",
    "SourceFolder",
    "SourceOptions",
    "find_domains",
    "make_options",
    "near_misses",
    "read_domain",
    "unread_folders",
]


class Reader(Protocol):
    """The functions of a module in `layouts/`."""

    def detect(self, folder: SourceFolder) -> str | None:
        """Return why the folder has this layout, or None."""

    def near_miss(self, folder: SourceFolder) -> str | None:
        """Return what the folder lacks to have this layout, or None; called where no layout matches."""

    def read(
        self, folder: SourceFolder, require_images: bool = True
    ) -> Iterator[Record | Rejection]:
        """Yield the pairs of the folder, in an order that depends on its content only.

        What claims to be a pair and is not one is a `Rejection`. An image without a caption is a record
        with an empty caption. Without `require_images`, pairs whose image is missing are records too.
        """


_FALLBACK = "image_folder"
_LAST = ("coop_splits", "table", _FALLBACK)  # general layouts are tried after the specific ones

READERS: dict[str, Reader] = {
    name: cast(Reader, importlib.import_module(f"{layouts.__name__}.{name}"))
    for name in sorted(
        (module.name for module in pkgutil.iter_modules(layouts.__path__)),
        key=lambda name: (_LAST.index(name) if name in _LAST else -1, name),
    )
}
"""Readers by layout, in the order in which they are tried. The first that detects its layout is used."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A folder with one layout. `path` is relative to the source root, and `.` for the root itself."""

    name: str
    path: str
    reader: str
    why: str
    about: DomainInfo = NO_INFO
    options: SourceOptions = NO_OPTIONS


def find_domains(root: Path, options: SourceOptions = NO_OPTIONS) -> list[Domain]:
    """Return the domains of a source: the folder itself if its layout is known, else its subfolders.

    Args:
        root: the source.
        options: for all domains; they override those of `domain.toml`.

    Raises:
        FdrdError: the folder is missing or empty, has no known layout, or two domains share a name.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise FdrdError(f"{root} {what}; --source takes a folder of images and captions")
    if not any(root.iterdir()):
        raise FdrdError(f"{root} is empty; `fdrd sample {root}` creates an example source")
    source = SourceFolder(root, options)
    if b'"schema_version"' in source.start("manifest.json"):
        raise FdrdError(f"{root} is a built dataset; --source takes the folder it was built from")
    domain = _recognize(source, ".", root.resolve().name)
    if domain and domain.reader != _FALLBACK:
        return [domain]
    domains = [
        found
        for name in source.folders
        if (found := _recognize(SourceFolder(root / name, options), name, name))
    ]
    # Image folders with annotations of their own are domains, not categories.
    if domain and not any(
        found.reader != _FALLBACK and found.path.lower() not in SPLIT_OF_WORD for found in domains
    ):
        return [domain]
    if not domains:
        raise FdrdError(_unknown_layout(source))
    names = [domain.name for domain in domains]
    for name in names:
        if names.count(name) > 1:
            raise FdrdError(f"{root}: two folders have the domain name {name!r}; rename one")
    return domains


def near_misses(folder: SourceFolder) -> list[str]:
    """Return what the folder lacks for each layout, and what hides its images from all readers."""
    found = [
        f"{name}: {why}" for name, reader in READERS.items() if (why := reader.near_miss(folder))
    ]
    for path in sorted(folder.root.iterdir()):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.root.resolve()):
            found.append(
                f"{path.name} is a link out of the folder, which is not followed; move or copy it"
            )
        elif path.suffix.lower() in (".zip", ".rar", ".7z"):
            found.append(f"{path.name} is an archive; unpack it")
    return [f"{folder.root.name}: {why}" for why in found]


def unread_folders(root: Path, domains: Sequence[Domain]) -> Iterator[Rejection]:
    """Yield a rejection for each folder with images beside the domains whose layout is unknown."""
    if [domain.path for domain in domains] == ["."]:
        return
    known = {domain.path for domain in domains}
    for name in SourceFolder(root).folders:
        files = () if name in known else SourceFolder(root / name).files
        image = next(filter(is_image, files), None)
        if image:
            detail = (
                f"it holds {image}, and no reader knows its layout; "
                "`fdrd build --explain` says what came near"
            )
            yield Rejection(name, "", "unreadable_annotations", detail)


def read_domain(
    root: Path, domain: Domain, require_images: bool = True, *, require_captions: bool = True
) -> Iterator[Record | Rejection]:
    """Yield what the domain's reader yields, with paths relative to the source root and prefixed ids.

    Records without a caption become rejections, unless `require_captions` is off.
    """
    prefix = "" if domain.path == "." else f"{domain.path}/"
    completer = DomainCompleter(domain.about)
    categories: dict[str, None] = {}
    folder = SourceFolder(root / domain.path, domain.options)
    for found in READERS[domain.reader].read(folder, require_images):
        if isinstance(found, Rejection):
            yield replace(found, file=prefix + found.file)
            continue
        categories[found.category] = None
        found = completer.complete(found)
        path, origin = prefix + found.image.path, prefix + found.source.origin
        if require_captions and not found.caption:
            file, _, key = origin.partition(": ")
            detail = f"no caption for {path}; `fdrd caption` writes captions"
            yield Rejection(file, key, "caption_missing", detail)
            continue
        yield replace(
            found,
            id=f"{domain.name}/{found.id}",
            domain=domain.name,
            image=ImageRef(path, found.image.member),
            source=replace(found.source, file=path, origin=origin),
        )
    completer.check_names(categories, f"{root / domain.path}/domain.toml")


def _recognize(folder: SourceFolder, path: str, name: str) -> Domain | None:
    about = read_domain_file(folder.root)
    options = folder.options.over(about.options)
    folder = SourceFolder(folder.root, options)
    if options.layout and options.layout not in READERS:
        raise FdrdError(f"layout {options.layout!r}: choose from {', '.join(sorted(READERS))}")
    for reader, module in READERS.items():
        why = module.detect(folder) if options.layout in ("", reader) else None
        if why:
            return Domain(_domain_name(name), path, reader, why, about, options)
    return None


def _unknown_layout(source: SourceFolder) -> str:
    folders = [source, *(SourceFolder(source.root / name) for name in source.folders)]
    misses = [why for folder in folders for why in near_misses(folder)]
    return (
        f"{source.root}: unknown layout. "
        + ("Closest: " + "; ".join(misses[:5]) + ". " if misses else "")
        + f"Known layouts: {', '.join(sorted(READERS))}; `fdrd build --help` describes them"
    )


def _domain_name(folder: str) -> str:
    """Return a name that works as a config of `datasets` and as a folder on every system.

    >>> _domain_name("my pets: 2024"), _domain_name("default")
    ('my_pets_2024', 'default_')
    """
    name = re.sub(r"[^\w.-]+", "_", folder).strip("._-") or "domain"
    return f"{name}_" if name == "default" else name
