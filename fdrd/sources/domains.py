"""The domains of a source: which folders are domains, by which layout, and what their readers yield."""

import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from fdrd.errors import FdrdError
from fdrd.kinds import SOURCES, refuse_other
from fdrd.reasons import CAPTION_FROM_REVIEW, Rejection
from fdrd.record import ImageRef
from fdrd.sources.domain_file import NO_INFO, DomainCompleter, DomainInfo, read_domain_file
from fdrd.sources.layouts import READERS
from fdrd.sources.reading.columns import NO_OPTIONS, SourceOptions, find_columns, within_limit
from fdrd.sources.reading.names import SPLIT_OF_WORD, unread_format
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.sources.reading.tables import TABLES, columns_of_table
from fdrd.text.normalize import normalize_described

_FALLBACK, _NESTED = "image_folder", "nested_folders"
_UNLIKE_SOURCES = ("results", "export")  # unless a reader recognizes the folder


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
        root: folder of the source.
        options: options of all domains; they override those of `domain.toml`.

    Raises:
        FdrdError: the folder is missing, empty or of another kind, has no known layout, two domains share a name, or
            no domain has a column that `options` names.
    """
    domains = _domains_of(root, options)
    if options.columns:
        _check_columns(root, domains, options)
    return domains


def _check_columns(root: Path, domains: list[Domain], options: SourceOptions) -> None:
    """Raise `FdrdError` if no file has a column of these options. Columns of JSON are known once it is read."""
    columns: dict[str, None] = {}
    for domain in domains:
        folder = open_domain(root, domain)
        for file in READERS[domain.reader].used_files(folder):
            if file.lower().endswith(TABLES):
                columns |= dict.fromkeys(columns_of_table(folder, file))
            elif not file.lower().endswith(".txt"):
                return
    found = find_columns(columns, options)
    for field, names in options.columns:
        if field not in found:
            listed = f"the columns are {', '.join(columns)[:200]}" if columns else "it has no table"
            asked = f"`columns` {field}={','.join(names)}"
            raise FdrdError(f"{asked}: no file of {root} has it; {listed}")


def _domains_of(root: Path, options: SourceOptions) -> list[Domain]:
    if not root.is_dir():
        flaw = "is a file" if root.exists() else "does not exist"
        raise FdrdError(f"{root} {flaw}; `source` takes a folder of images and captions")
    if not any(root.iterdir()):
        raise FdrdError(f"{root} is empty; `fdrd sample {root}` creates an example source")
    source = SourceFolder(root, options)
    refuse_other(root, "a raw source", *SOURCES, *_UNLIKE_SOURCES)
    domain = _recognize(source, ".", root.resolve().name)
    if domain and (options.layout or domain.reader not in (_FALLBACK, _NESTED)):
        return [domain]
    domains = _domains_in(source)
    if not domains and not domain and len(source.folders) == 1:  # it holds all the others
        domains = _domains_in(source.sub(source.folders[0]), f"{source.folders[0]}/")
    # Image folders with annotations of their own are domains, not categories.
    others = [each for each in domains if each.reader != _FALLBACK]
    if domain and domain.reader == _FALLBACK:
        if all(each.path.lower() in SPLIT_OF_WORD for each in others):
            return [domain]
    elif domain and not domains:
        return [domain]
    if not domains:
        refuse_other(root, "a raw source", *SOURCES)
        raise FdrdError(_unknown_layout(source))
    for name, times in Counter(domain.name for domain in domains).items():
        if times > 1:
            raise FdrdError(f"{root}: two folders have the domain name {name!r}; rename one")
    return domains


def read_domain(
    root: Path,
    domain: Domain,
    require_images: bool = True,
    *,
    require_captions: bool = True,
    captions: Mapping[str, str] = MappingProxyType({}),
) -> Pairs:
    """Yield what the domain's reader yields, with paths relative to the source root and prefixed ids.

    Records without a caption become rejections, unless `require_captions` is off. `captions` are those that reviewers
    wrote for such records, by `file: key`.
    """
    prefix = "" if domain.path == "." else f"{domain.path}/"
    completer = DomainCompleter(domain.about)
    categories: dict[str, None] = {}
    columns: dict[str, None] = {}
    folder = open_domain(root, domain)
    refused = (each for archive in folder.archives.values() for each in archive.refused)
    for found in chain(refused, READERS[domain.reader].read(folder, require_images)):
        if isinstance(found, Rejection):
            yield replace(found, file=prefix + found.file)
            continue
        categories[found.category] = None
        found = within_limit(completer.complete(found), columns)
        path, origin = posixpath.normpath(prefix + found.image.path), prefix + found.source.origin
        image = ImageRef(path, found.image.member)
        file, _, key = origin.partition(": ")
        if not found.caption and (written := captions.get(f"{file}: {key}")):
            caption, rules = normalize_described(written, found.category)
            rules = (*found.rules, *rules, CAPTION_FROM_REVIEW)
            found = replace(found, caption=caption, rules=rules)
        if require_captions and not found.caption:
            detail = f"{image}: no caption; `fdrd caption` and `fdrd view --review` write captions"
            yield Rejection(file, key, "caption_missing", detail)
            continue
        source = replace(found.source, file=path, origin=origin)
        id_ = f"{domain.name}/{found.id}"
        yield replace(found, id=id_, domain=domain.name, image=image, source=source)
    completer.check_names(categories, f"{root / domain.path}/domain.toml")


def open_domain(root: Path, domain: Domain) -> SourceFolder:
    """Return the folder of a domain with its options."""
    folder = SourceFolder(root / domain.path)
    if not folder.root.is_dir():  # it is in an archive
        folder = SourceFolder(root)
        for name in domain.path.split("/"):
            folder = folder.sub(name)
    folder.options = domain.options
    return folder


def near_misses(folder: SourceFolder) -> list[str]:
    """Return what the folder lacks for each layout, and what hides its images from all readers."""
    misses = ((name, reader.near_miss(folder)) for name, reader in READERS.items())
    found = [f"{name}: {why}" for name, why in misses if why]
    unread = (path for path in folder.files if unread_format(path) and path.count("/") != 1)
    if not folder.images and (image := next(unread, "")):  # one folder below names it itself
        found.append(f"{image}: {unread_format(image)} is not read; convert it to PNG or JPEG")
    for path in sorted(folder.root.iterdir()) if folder.root.is_dir() else ():
        if path.is_symlink() and not path.resolve().is_relative_to(folder.root.resolve()):
            why = "a link out of the folder, which is not followed; move or copy it"
            found.append(f"{path.name} is {why}")
        elif path.suffix.lower() in (".zip", ".rar", ".7z") and path.name not in folder.archives:
            found.append(f"{path.name} is an archive that is not read in place; unpack it")
    return [f"{folder.root.name}: {why}" for why in found]


def _domains_in(source: SourceFolder, prefix: str = "") -> list[Domain]:
    found = (_recognize(source.sub(name), f"{prefix}{name}", name) for name in source.folders)
    return [domain for domain in found if domain and domain.reader != _NESTED]


def _recognize(folder: SourceFolder, path: str, name: str) -> Domain | None:
    about = read_domain_file(folder)
    options = folder.options = folder.options.over(about.options)
    if options.layout and options.layout not in READERS:
        of_file = options.layout == about.options.layout
        where = "domain.toml: layout" if of_file else "`layout`"
        raise FdrdError(f"{where} {options.layout!r}: choose from {', '.join(sorted(READERS))}")
    for reader, module in READERS.items():
        if options.layout in ("", reader) and (why := module.detect(folder)):
            return Domain(_domain_name(name), path, reader, why, about, options)
    return None


def _unknown_layout(source: SourceFolder) -> str:
    folders = [source, *map(source.sub, source.folders)]
    misses = list(islice(chain.from_iterable(map(near_misses, folders)), 5))
    closest = f"Closest: {'; '.join(misses)}. " if misses else ""
    known = f"Known layouts: {', '.join(sorted(READERS))}; `fdrd build --help` describes them"
    return f"{source.root}: unknown layout. {closest}{known}"


def _domain_name(folder: str) -> str:
    """Return a name that works as a config of `datasets` and as a folder on every system.

    >>> _domain_name("my pets: 2024"), _domain_name("default")
    ('my_pets_2024', 'default_')
    """
    name = re.sub(r"[^\w.-]+", "_", folder).strip("._-") or "domain"
    return f"{name}_" if name == "default" else name
