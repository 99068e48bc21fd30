"""The table of public sets, `sources.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

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
    optional: bool = False
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A public set of images, with captions if someone published them."""

    name: str
    title: str
    license: str
    terms: str
    files: tuple[RemoteFile, ...]
    note: str = ""


def read_table(text: str | None = None) -> dict[str, PublicSet]:
    """Return the sets by name, by default those of `sources.toml`."""
    if text is None:
        text = (files("fdrd.fetching") / "sources.toml").read_text("utf-8")
    return {
        name: PublicSet(
            name,
            **{
                **fields,
                "files": tuple(
                    RemoteFile(**{"name": each.get("url", "").rpartition("/")[2], **each})
                    for each in fields["files"]
                ),
            },
        )
        for name, fields in tomllib.loads(text).items()
    }


def find_set(name: str, table: dict[str, PublicSet]) -> PublicSet:
    """Return a set by name; case, spaces and hyphens do not matter.

    Raises:
        FdrdError: there is no such set.
    """
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if plain not in table:
        raise FdrdError(f"no public set {name!r}; choose from {', '.join(table)}")
    return table[plain]
