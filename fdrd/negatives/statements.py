"""What a caption states about its image, as far as natural pairs need it: categories, and attributes of things."""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from msgspec import Struct

from fdrd.negatives.category import Category
from fdrd.negatives.uses import JOINS, has_clear_color
from fdrd.record import Attribute, TaggedCaption
from fdrd.text.mentions import Mention, NameIndex, find_mentions

Value = tuple[str, str]
"""type and value of an attribute, in lower case"""

OF_NEXT_NOUN = frozenset(["color", "count"])  # stand before what they describe
_BETWEEN = OF_NEXT_NOUN | {"pattern", "shape", "size", "material"}  # may stand between it and them
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NO_NOUN = frozenset(
    """and or a an the of in on at to with without by for from near over under as is are was were has have that which
    its their his her it this these those all both each other another one""".split()
)


class Statement(Struct, frozen=True, gc=False):
    """What a caption states.

    Attributes:
        words: keys of its distinct words outside the mentions of its category: 32-bit numbers, in bytes.
        named: whether it names its category.
        categories: indices of the categories that it may mention.
        values: all its attribute values.
        things: (noun, type, value) for each attribute whose noun is known.
    """

    words: bytes
    named: bool
    categories: tuple[int, ...]
    values: tuple[Value, ...]
    things: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Names:
    """The categories of a domain, and what finds them in a caption."""

    categories: tuple[Category, ...]
    index: NameIndex
    number: Mapping[str, int]


def state(caption: TaggedCaption, names: Names) -> Statement:
    """Return what a caption states."""
    text, own = caption.caption, names.number.get(caption.category, -1)
    found = names.index.find(text)
    mentions = find_mentions(text, names.categories[own].pattern) if own in found else []
    return Statement(
        words=_word_keys(text, mentions),
        named=bool(mentions),
        categories=tuple(sorted(found)),
        values=tuple(sorted({_value(span) for span in caption.attributes})),
        things=tuple(sorted(set(_things(text, caption.attributes)))),
    )


def _word_keys(text: str, mentions: Sequence[Mention]) -> bytes:
    for mention in reversed(mentions):
        text = f"{text[: mention.start]} {text[mention.end :]}"
    return array("I", sorted(set(map(_word_key, _WORD.findall(text.lower()))))).tobytes()


@lru_cache(maxsize=65_536)
def _word_key(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))


def _things(text: str, attributes: Sequence[Attribute]) -> list[tuple[str, str, str]]:
    """Return the noun of each attribute that stands before one: "a red and white double-decker bus"."""
    found = []
    for place, span in enumerate(attributes):
        if span.type not in OF_NEXT_NOUN:
            continue
        end, last = span.end, span
        for after in attributes[place + 1 :]:
            between = text[end : after.start].strip().lower()
            joined = between in JOINS and after.type == span.type
            if after.type not in _BETWEEN or not (joined or not between):
                break
            end, last = after.end, after
        noun = _noun_after(text, last.end)
        if noun and (span.type != "color" or has_clear_color(noun)):
            found.append((noun, *_value(span)))
    return found


def _noun_after(text: str, end: int) -> str:
    """Return the word that follows directly, in the singular as far as an "s" makes the plural; empty without one."""
    match = _WORD.match(text, end + 1) if text[end : end + 1] == " " else None
    word = match.group().lower() if match else ""
    return "" if word in _NO_NOUN else _singular(word)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _value(span: Attribute) -> Value:
    return span.type, span.value.lower()
