"""The optional `domain.toml` in the folder of a domain: facts that its annotations lack.

```toml
license = "CC-BY-4.0"            # of records without a license
homepage = "https://example.org"
citation = "@inproceedings{...}"
group = "{group}_c*"             # of images with a matching name; "{group}/*" matches folders too

layout = "table"                 # these four are options of `fdrd build`, too
separator = ";"
category_from = "folder"         # or category = "bird" for all records

[map]
image = "photo"
caption = ["title", "text"]

[meta_categories]
songbird = ["wren", "robin"]     # or "*" for all categories in no other list
```
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from fdrd.errors import FdrdError
from fdrd.images.containers import path_in_source
from fdrd.record import Record
from fdrd.sources.reading.columns import NO_OPTIONS, SourceOptions, make_options
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder
from fdrd.text.normalize import normalize_category

NAME = "domain.toml"
_MAX_BYTES = 2**20
_MAX_WILDCARDS = 2  # more wildcards or longer names would let matching take very long
_MAX_NAME = 300
_TEXTS = ("license", "homepage", "citation", "group")
_OPTIONS = ("layout", "separator", "category", "category_from")


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """The content of a `domain.toml`; keys that are not given are empty."""

    license: str = ""
    homepage: str = ""
    citation: str = ""
    group: str = ""
    meta_categories: tuple[tuple[str, tuple[str, ...]], ...] = ()
    options: SourceOptions = NO_OPTIONS

    def to_json(self) -> dict[str, Any]:
        """Return the part that the manifest repeats."""
        return {
            "license": self.license,
            "homepage": self.homepage,
            "citation": self.citation,
            "meta_categories": [meta for meta, _ in self.meta_categories],
        }


def read_domain_file(folder: SourceFolder) -> DomainInfo:
    """Return the content of the `domain.toml` in a folder or its archive, empty if there is none.

    Raise `FdrdError` if the file is not TOML, or a key is unknown or has an invalid value.
    """
    path = folder.root / NAME
    if not path.is_symlink() and not path.exists() and NAME not in folder:
        return NO_INFO
    try:
        with folder.open(NAME) as opened:
            text = opened.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise FdrdError(f"{path} has more than {_MAX_BYTES} bytes; shorten it")
        values = tomllib.loads(text.decode("utf-8"))
    except (RejectedError, OSError, ValueError, RecursionError) as error:
        why = error.args[1] if isinstance(error, RejectedError) else error
        raise FdrdError(f"{path} cannot be read: {why}; fix or remove it") from error
    return _Checker(path, values).info()


NO_INFO = DomainInfo()


class _Checker(NamedTuple):
    """Checks the values of a file. Messages name the file, the key and a remedy."""

    path: Path
    values: Mapping[str, Any]

    def info(self) -> DomainInfo:
        values = self.values
        known = [*_TEXTS, "meta_categories", *_OPTIONS, "map"]
        for key in [key for key in values if key not in known]:
            near = difflib.get_close_matches(key, known, 1)
            remedy = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
            raise self.error(key, "is not a known key", remedy)
        texts = {key: self.text(key, values[key]) for key in _TEXTS if key in values}
        if not re.fullmatch(r"(https?://[^\s<>\"]+)?", texts.get("homepage", "")):
            raise self.error("homepage", "is not a URL", "start it with https://")
        if not re.fullmatch(".{0,200}", texts.get("license", "")):
            remedy = 'give an SPDX identifier, e.g. "CC-BY-4.0", or a short name'
            raise self.error("license", "is too long", remedy)
        pattern = texts.get("group", "{group}")
        if pattern.count("{group}") != 1 or pattern.count("*") > _MAX_WILDCARDS:
            remedy = f'use {{group}} once and * at most {_MAX_WILDCARDS} times, e.g. "{{group}}_c*"'
            raise self.error("group", f"is {pattern!r}"[:80], remedy)
        return DomainInfo(**texts, meta_categories=self.meta_categories(), options=self.options())

    def text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise self.error(key, f"is {value!r}"[:80], f'give a string: {key} = "..."')
        return value.strip()

    def meta_categories(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        lists = self.values.get("meta_categories", {})
        remedy = 'write [meta_categories], then lines such as songbird = ["wren", "robin"]'
        if not isinstance(lists, dict):
            raise self.error("meta_categories", "is not a table", remedy)
        lists = {meta: ["*"] if names == "*" else names for meta, names in lists.items()}
        meta_of: dict[str, str] = {}
        for meta, names in lists.items():
            key = f"meta_categories.{meta}"
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise self.error(key, "is not a list of categories", remedy)
            if not meta.strip() or not names:
                raise self.error(key, "is empty", "name it and list a category, or remove it")
            for name in names:
                if (other := meta_of.setdefault(plain(name), meta)) != meta:
                    flaw = f"lists {name!r}, and so does {other!r}"
                    raise self.error(key, flaw, "keep one of them")
        return tuple((meta, tuple(names)) for meta, names in lists.items())

    def options(self) -> SourceOptions:
        texts = {key: self.text(key, self.values[key]) for key in _OPTIONS if key in self.values}
        columns = self.values.get("map", {})
        if not isinstance(columns, dict):
            raise self.error("map", "is not a table", 'write [map], then image = "column"')
        try:
            return make_options(**texts, columns=columns)
        except FdrdError as error:
            raise FdrdError(f"{self.path}: {error}") from error

    def error(self, key: str, flaw: str, remedy: str) -> FdrdError:
        return FdrdError(f"{self.path}: `{key}` {flaw}; {remedy}")


class DomainCompleter:
    """Fills in the fields that records lack from their domain's `domain.toml`."""

    def __init__(self, about: DomainInfo):
        self._about = about
        lists = about.meta_categories
        self._meta_of = {plain(name): meta for meta, names in lists for name in names}
        parts = re.split(r"(\{group\}|\*)", about.group)
        known = {"{group}": "([^/]+)", "*": "[^/]*"}
        group = "".join(known.get(part) or re.escape(part) for part in parts)
        self._group = re.compile(f"(?:.*/)?{group}")

    def complete(self, record: Record) -> Record:
        """Return the record with a meta-category, group and license, each only if it has none."""
        about, source = self._about, record.source
        if about.license and source.license == "unknown":
            source = replace(source, license=about.license)
        fallback = self._meta_of.get("*", "")
        meta = record.meta_category or self._meta_of.get(plain(record.category), fallback)
        group = record.group
        if about.group and not group:
            stem = path_in_source(record.image).rpartition(".")[0]
            name = stem if "/" in about.group else stem.rpartition("/")[2]
            fits = self._group.fullmatch(name) if len(name) <= _MAX_NAME else None
            group = fits[1] if fits else ""
        return replace(record, source=source, meta_category=meta, group=group)

    def check_names(self, categories: Collection[str], file: str) -> None:
        """Raise `FdrdError` if a listed category looks like a misspelled category of the records."""
        present = {plain(category): category for category in categories}
        free = [name for name in present if name not in self._meta_of]
        for name in self._meta_of.keys() - present.keys():
            if near := difflib.get_close_matches(name, free, 1, 0.8):
                flaw = f"`meta_categories` lists {name!r}, which no record has"
                raise FdrdError(f"{file}: {flaw}; did you mean {present[near[0]]!r}?")


def plain(category: str) -> str:
    """Return the form that all spellings of a category share.

    >>> plain("House_Wren")
    'house wren'
    """
    return normalize_category(category)[0].casefold()
