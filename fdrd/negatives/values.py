"""Attribute values that exclude each other, so that replacing one by the other makes a caption wrong.

Two values exclude each other if a line of `fdrd/text/lexicon/contrasts.txt` has both, no line joins them by `=`, and
neither is a shade of the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from fdrd.record import Attribute
from fdrd.text.lexicon import entries

_SHADE = re.compile(
    r"(?:light|lighter|dark|darker|bright|deep|pale|pastel|reddish|yellowish|grayish|greyish)[ -]"
)
_TOWARD = {"light": "white", "lighter": "white", "pale": "white", "pastel": "white"} | {
    "dark": "black", "darker": "black", "deep": "black",
}  # fmt: skip

Contrasts = Mapping[str, tuple[tuple[int, int], ...]]
"""value -> (line, group in the line) for each line of a type that has it"""


@lru_cache(maxsize=65_536)
def excluded(type_: str, value: str, other: str) -> bool:
    """Check if a thing of one value surely has not the other one, whoever describes it.

    >>> excluded("color", "light gray", "dark red"), excluded("color", "red", "orange")
    (True, False)
    >>> excluded("count", "two", "four"), excluded("count", "two", "several")
    (True, False)
    """
    groups, others = _groups(type_, value), dict(_groups(type_, other))
    shared = [others[line] == group for line, group in groups if line in others]
    return bool(shared) and not any(shared) and not _is_shade(value, other)


def same_meaning(type_: str, value: str, other: str) -> bool:
    """Check if two values mean the same, apart from their shade.

    >>> same_meaning("color", "gray", "light grey"), same_meaning("color", "gray", "silver")
    (True, False)
    """
    shared = {*_groups(type_, value)} & {*_groups(type_, other)}
    return base(value) == base(other) or any(line in _choices() for line, _ in shared)


def swappable(type_: str, value: str) -> bool:
    """Check if any value excludes a value in lower case."""
    return bool(_groups(type_, value))


def stated(span: Attribute) -> str:
    r"""Return what a caption states by an attribute, without its shade, as a text that is no caption.

    >>> stated(Attribute("color", "Light gray", 0, 10))
    '\x00color gray'
    """
    return f"\0{span.type} {base(span.value.lower())}"


def base(value: str) -> str:
    """Return a value without its shade: "light gray" is a gray."""
    return _SHADE.sub("", value)


def _is_shade(value: str, other: str) -> bool:
    return _TOWARD.get(value.split()[0]) == base(other) or (
        _TOWARD.get(other.split()[0]) == base(value)
    )


def _groups(type_: str, value: str) -> tuple[tuple[int, int], ...]:
    return _contrasts().get(type_, {}).get(base(value), ())


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


@cache
def _choices() -> frozenset[int]:
    """Return the lines with several groups; the others list what people may confuse."""
    return frozenset(line for line, entry in enumerate(entries("contrasts")) if "," in entry)
