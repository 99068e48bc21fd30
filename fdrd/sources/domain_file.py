"""`domain.toml`, which may lie in the folder of a domain: what its annotations do not say.

```toml
licence = "CC-BY-4.0"            # of records that name none
homepage = "https://example.org"
citation = "@inproceedings{...}"
group = "{group}_c*"             # of images whose name fits; "{group}/*" looks at folders too

[meta_categories]
songbird = ["wren", "robin"]     # or "*" for all that no other list has
```
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fdrd.errors import FdrdError
from fdrd.files.safe_open import open_inside
from fdrd.record import Record
from fdrd.text.normalize import normalize_category

NAME = "domain.toml"
_MAX_BYTES = 2**20
_WILDCARDS = 2  # with more of them, or longer names, a hostile name takes ages to match
_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class About:
    """What `domain.toml` says of a domain; empty where it says nothing."""

    licence: str = ""
    homepage: str = ""
    citation: str = ""
    group: str = ""
    meta_categories: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What the manifest repeats of it: only what is said."""
        return {
            "licence": self.licence,
            "homepage": self.homepage,
            "citation": self.citation,
            "meta_categories": [meta for meta, _ in self.meta_categories],
        }


def read_domain_file(folder: Path) -> About:
    """What the `domain.toml` of a folder says, nothing where there is none.

    Raises:
        FdrdError: it is no TOML, or a key is unknown or has a value that makes no sense.
    """
    place = folder / NAME
    if not place.is_symlink() and not place.exists():
        return NOTHING_SAID
    try:
        with open_inside(folder, NAME) as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise FdrdError(f"{place} has more than {_MAX_BYTES} bytes; keep it short")
        values = tomllib.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FdrdError(f"{place} cannot be read: {error}; mend it, or remove it") from error
    return _Checked(place, values).about()


NOTHING_SAID = About()


@dataclass(frozen=True, slots=True)
class _Checked:
    """The values of a file, each looked at once; a message names file, key and remedy."""

    place: Path
    values: Mapping[str, Any]

    def about(self) -> About:
        if "license" in self.values and "licence" in self.values:
            raise self.error("license", "stands there as `licence` too", "keep one")
        values = {
            "licence" if key == "license" else key: value for key, value in self.values.items()
        }
        known = [field.name for field in fields(About)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                remedy = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}"
                raise self.error(key, "is no key of this file", remedy)
        texts = {key: self.text(key, values[key]) for key in known[:-1] if key in values}
        if not re.fullmatch(r"(https?://[^\s<>\"]+)?", texts.get("homepage", "")):
            raise self.error("homepage", "is no address", "begin it with https://")
        if "\n" in texts.get("licence", "") or len(texts.get("licence", "")) > 200:
            remedy = 'give an SPDX identifier, as "CC-BY-4.0", or a short name'
            raise self.error("licence", "is longer than a name", remedy)
        if "group" in texts:
            self.check_group(texts["group"])
        return About(**texts, meta_categories=self.meta_categories(values))

    def text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise self.error(key, f"is {value!r}"[:80], f'give a text: {key} = "..."')
        return value.strip()

    def check_group(self, pattern: str) -> None:
        if pattern.count("{group}") != 1 or pattern.count("*") > _WILDCARDS:
            remedy = f'name {{group}} once, and * at most {_WILDCARDS} times, as "{{group}}_c*"'
            raise self.error("group", f"is {pattern!r}"[:80], remedy)

    def meta_categories(self, values: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found = values.get("meta_categories", {})
        example = '[meta_categories], then lines as songbird = ["wren", "robin"]'
        if not isinstance(found, dict):
            raise self.error("meta_categories", "is no table", f"write {example}")
        meta_of: dict[str, str] = {}
        for meta, names in found.items():
            key = f"meta_categories.{meta}"
            names = ["*"] if names == "*" else names
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise self.error(key, "is no list of categories", f"write {example}")
            if not meta.strip() or not names:
                raise self.error(key, "is empty", "name it and list a category, or remove it")
            for name in names:
                other = meta_of.setdefault(plain(name), meta)
                if other != meta:
                    raise self.error(key, f"lists {name!r}, as {other!r} does", "keep one of them")
        return tuple(
            (meta, tuple([names] if names == "*" else names)) for meta, names in found.items()
        )

    def error(self, key: str, flaw: str, remedy: str) -> FdrdError:
        return FdrdError(f"{self.place}: `{key}` {flaw}; {remedy}")


class Completer:
    """Gives records what their domain's file says and they do not."""

    def __init__(self, about: About):
        self._about = about
        self._meta_of = {
            plain(name): meta for meta, names in about.meta_categories for name in names
        }
        parts = re.split(r"(\{group\}|\*)", about.group)
        expressions = {"{group}": "([^/]+)", "*": "[^/]*"}
        self._group = re.compile(
            "(?:.*/)?" + "".join(expressions.get(part) or re.escape(part) for part in parts)
        )

    def complete(self, record: Record) -> Record:
        """The record with meta-category, group and licence, each only where it has none."""
        about, source = self._about, record.source
        if about.licence and source.license == "unknown":
            source = replace(source, license=about.licence)
        meta = record.meta_category or self._meta_of.get(
            plain(record.category), self._meta_of.get("*", "")
        )
        group = record.group
        if about.group and not group:
            path = record.image.member.partition(" ")[2] if "+" in record.image.member else ""
            stem = (path or record.image.path).rpartition(".")[0]
            name = stem if "/" in about.group else stem.rpartition("/")[2]
            fits = self._group.fullmatch(name) if len(name) <= _LONGEST_NAME else None
            group = fits[1] if fits else ""
        return replace(record, source=source, meta_category=meta, group=group)

    def check_names(self, categories: Collection[str], place: str) -> None:
        """Raises `FdrdError` where a listed category that no record has looks like one that is not listed."""
        present = {plain(category): category for category in categories}
        free = [name for name in present if name not in self._meta_of]
        for name in self._meta_of.keys() - present.keys():
            near = difflib.get_close_matches(name, free, 1, 0.8)
            if near:
                raise FdrdError(
                    f"{place}: `meta_categories` lists {name!r}, which is no category of the domain; "
                    f"did you mean {present[near[0]]!r}?"
                )


def plain(category: str) -> str:
    """A category's name as two spellings of it share it.

    >>> plain("House_Wren")
    'house wren'
    """
    return normalize_category(category)[0].casefold()
