"""Attribute values that exclude each other, so that replacing one by the other makes a caption wrong.

Two values contrast if a line of `fdrd/text/lexicon/contrasts.txt` has both and does not join them by `=`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from fdrd.text.lexicon import entries

_SHADE = re.compile(
    r"(?:light|lighter|dark|darker|bright|deep|pale|pastel|reddish|yellowish|grayish|greyish)[ -]"
)

Contrasts = Mapping[str, tuple[tuple[int, int], ...]]
"""value -> (line, group in the line) for each line of a type that has it"""


@lru_cache(maxsize=65_536)
def contrasting(type_: str, value: str, other: str) -> bool:
    """Check if a caption with `other` is wrong where `value` is true.

    >>> contrasting("size", "large", "tiny"), contrasting("size", "large", "huge")
    (True, False)
    >>> contrasting("color", "light gray", "dark red"), contrasting("color", "gray", "light grey")
    (True, False)
    """
    groups, others = _groups(type_, value), dict(_groups(type_, other))
    shared = [others[line] == group for line, group in groups if line in others]
    return bool(shared) and not any(shared)


@lru_cache(maxsize=65_536)
def same_meaning(type_: str, value: str, other: str) -> bool:
    """Check if two values mean the same to a reader.

    >>> same_meaning("color", "gray", "light grey"), same_meaning("color", "gray", "black")
    (True, False)
    """
    return base(value) == base(other) or bool({*_groups(type_, value)} & {*_groups(type_, other)})


def swappable(type_: str, value: str) -> bool:
    """Check if any value contrasts with a value in lower case."""
    return bool(_groups(type_, value))


def contrasting_values() -> tuple[tuple[str, str], ...]:
    """Return all (type, value) pairs of the contrasts, sorted."""
    return tuple(
        sorted((type_, value) for type_, groups in _contrasts().items() for value in groups)
    )


def _groups(type_: str, value: str) -> tuple[tuple[int, int], ...]:
    return _contrasts().get(type_, {}).get(base(value), ())


def base(value: str) -> str:
    """Return a value without its shade: "light gray" is a gray."""
    return _SHADE.sub("", value)


@cache
def _contrasts() -> Mapping[str, Contrasts]:
    table: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for line, entry in enumerate(entries("contrasts")):
        type_, _, groups = entry.partition(":")
        for group, values in enumerate(groups.split(",")):
            for value in values.split("="):
                table.setdefault(type_, {}).setdefault(value.strip(), []).append((line, group))
    return {
        type_: {value: tuple(places) for value, places in values.items()}
        for type_, values in table.items()
    }
