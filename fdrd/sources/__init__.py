"""Raw layouts that fdrd reads: one module each, found by looking at the folder.

A module of this package has three functions. `detect(root)` says in a few words why the folder is in its
layout, or None; `near(root)` what is almost so. `read(root, pictures)` yields a `Record` for each
image-caption pair, or a `Rejection` for what claims to be one and is not, with paths below `root`. A new
layout is one new file.
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
from fdrd.sources.domain_file import NOTHING_SAID, About, Completer, read_domain_file
from fdrd.sources.reading.annotation_files import SPLIT_OF_WORD, files_below, is_image, start_of


class Reader(Protocol):
    """What a module of this package offers."""

    def detect(self, root: Path) -> str | None:
        """Why the folder is in this layout, or None."""

    def near(self, root: Path) -> str | None:
        """What in the folder is almost in this layout and what it lacks, or None; asked where none fits."""

    def read(self, root: Path, pictures: bool = True) -> Iterator[Record | Rejection]:
        """The pairs of the folder, in an order that depends on its content only.

        An image without a caption is a record with an empty one. Without `pictures`, annotations count
        although their image is not there: for an audit of them.
        """


_FALLBACK = "image_folder"
_LAST = ("coop_splits", "table", _FALLBACK)  # what others, more particular, are asked before

READERS: dict[str, Reader] = {
    name: cast(Reader, importlib.import_module(f"{layouts.__name__}.{name}"))
    for name in sorted(
        (module.name for module in pkgutil.iter_modules(layouts.__path__)),
        key=lambda name: (_LAST.index(name) if name in _LAST else -1, name),
    )
}
"""By name, in the order in which they are asked: the first that fits reads a folder."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One folder in one layout. `path` lies below the source root and is `.` for the root itself."""

    name: str
    path: str
    reader: str
    why: str
    about: About = NOTHING_SAID


def find_domains(root: Path) -> list[Domain]:
    """The domains of a source: the folder itself if a reader knows it, else those of its folders that one knows.

    Raises:
        FdrdError: the folder is missing or empty, no reader knows it, or two domains get one name.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise FdrdError(f"{root} {what}; --source takes a folder of images and captions")
    if not any(root.iterdir()):
        raise FdrdError(f"{root} is empty; `fdrd sample {root}` draws a source to start from")
    if b'"schema_version"' in start_of(root, "manifest.json"):
        raise FdrdError(
            f"{root} is a dataset that was built already; --source takes what it was built from"
        )
    domain = _recognise(root, ".", root.resolve().name)
    if domain and domain.reader != _FALLBACK:
        return [domain]
    domains = [
        found
        for folder in folders_of(root)
        if (found := _recognise(folder, folder.name, folder.name))
    ]
    # Folders of images with annotations of their own are domains and no categories.
    if domain and not any(
        found.reader != _FALLBACK and found.path.lower() not in SPLIT_OF_WORD for found in domains
    ):
        return [domain]
    if not domains:
        almost = [why for folder in [root, *folders_of(root)] for why in nearly(folder)]
        raise FdrdError(
            f"{root}: no reader knows this layout. "
            + ("Near to one: " + "; ".join(almost[:5]) + ". " if almost else "")
            + f"fdrd reads {', '.join(sorted(READERS))}; `fdrd build --help` says what they look like"
        )
    names = [domain.name for domain in domains]
    for name in names:
        if names.count(name) > 1:
            raise FdrdError(f"{root}: two folders give the domain name {name!r}; rename one")
    return domains


def folders_of(root: Path) -> list[Path]:
    """The folders that may be domains. Links to folders are not followed, as they may lead anywhere."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    )


def nearly(folder: Path) -> list[str]:
    """What in a folder is almost in a layout, and what hides its images from all readers."""
    found = [
        f"{reader}: {why}" for reader, module in READERS.items() if (why := module.near(folder))
    ]
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            found.append(
                f"{path.name} is a link out of the folder and not followed; move or copy it"
            )
        elif path.suffix.lower() in (".zip", ".rar", ".7z"):
            found.append(f"{path.name} is an archive; unpack it")
    return [f"{folder.name}: {why}" for why in found]


def left_out(root: Path, domains: Sequence[Domain]) -> Iterator[Rejection]:
    """Folders beside those of the domains that hold images, and that no reader knows."""
    if [domain.path for domain in domains] == ["."]:
        return
    known = {domain.path for domain in domains}
    for folder in folders_of(root):
        image = (
            next(filter(is_image, files_below(folder)), None) if folder.name not in known else None
        )
        if image:
            detail = (
                f"it holds {image}, and no reader knows its layout; "
                "`fdrd build --explain` says what came near"
            )
            yield Rejection(folder.name, "", "unreadable_annotations", detail)


def read_domain(
    root: Path, domain: Domain, pictures: bool = True, *, captions: bool = True
) -> Iterator[Record | Rejection]:
    """What the domain's reader yields, with paths below the source root and the domain's name in the ids.

    A record without a caption is a rejection, but where captions do not count.
    """
    prefix = "" if domain.path == "." else f"{domain.path}/"
    completer = Completer(domain.about)
    categories: dict[str, None] = {}
    for found in READERS[domain.reader].read(root / domain.path, pictures):
        if isinstance(found, Rejection):
            yield replace(found, file=prefix + found.file)
        else:
            categories[found.category] = None
            found = completer.complete(found)
            path, origin = prefix + found.image.path, prefix + found.source.origin
            if captions and not found.caption:
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


def _recognise(folder: Path, path: str, name: str) -> Domain | None:
    for reader, module in READERS.items():
        why = module.detect(folder)
        if why:
            return Domain(_domain_name(name), path, reader, why, read_domain_file(folder))
    return None


def _domain_name(folder: str) -> str:
    """A name that is a config of `datasets` and a folder everywhere.

    >>> _domain_name("my pets: 2024"), _domain_name("default")
    ('my_pets_2024', 'default_')
    """
    name = re.sub(r"[^\w.-]+", "_", folder).strip("._-") or "domain"
    return f"{name}_" if name == "default" else name
