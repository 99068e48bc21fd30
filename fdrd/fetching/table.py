"""The table of public sets, `sources.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from fdrd.errors import FdrdError


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
    return {
        name: _public_set(name, fields, shared.get(name, {}))
        for name, fields in tables.items()
        if "files" in fields
    }


def read_collections(table: dict[str, PublicSet]) -> dict[str, Collection]:
    """Return the collections by name, with sets of the table."""
    return {
        name: Collection(name, fields["title"], tuple(table[each] for each in fields["sets"]))
        for name, fields in _tables().items()
        if "sets" in fields
    }


def find(name: str) -> PublicSet | Collection:
    """Return a set or collection by name; case, spaces and hyphens do not matter.

    Raises:
        FdrdError: there is none.
    """
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
