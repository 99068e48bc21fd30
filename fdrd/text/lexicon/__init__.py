"""Word lists: one file per attribute type, one entry per line, comments start with `#`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

Phrases = Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
"""first word of a phrase -> its other words and its type, longest first"""


@cache
def entries(name: str) -> tuple[str, ...]:
    """Return the entries of `fdrd/text/lexicon/<name>.txt` in file order.

    >>> "polka dot" in entries("pattern")
    True
    """
    lines = (files(__name__) / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def phrases(names: Iterable[str]) -> Phrases:
    """Return the entries of several lists by their first word. Earlier lists take precedence."""
    types: dict[tuple[str, ...], str] = {}
    for name in names:
        for entry in entries(name):
            types.setdefault(tuple(entry.lower().split()), name)
    table: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for (first, *rest), name in types.items():
        table.setdefault(first, []).append((tuple(rest), name))
    return {
        first: tuple(sorted(choices, key=lambda choice: -len(choice[0])))
        for first, choices in table.items()
    }
