"""Attribute spans in a free caption, by type, from word lists and the words around.

Input is one caption and the name of its category, whose mentions are left alone; output are spans that
do not overlap. The word lists are `fdrd/text/lexicon/*.txt`. What the types mean, and how well they are
found, is in `docs/annotations.md`. A language model or a user's own file may supply the attributes
instead (`Tagger`); `checked` tells whether they fit the caption.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from fdrd.errors import FdrdError
from fdrd.record import Attribute
from fdrd.text.lexicon import Phrases, entries, phrases
from fdrd.text.mentions import category_pattern, find_mentions

Tagger = Callable[[str, str], Iterable[Attribute]]
"""Anything that gives the attributes of (caption, category); `find_attributes` is one."""

_NOTHING = "not_an_attribute"
_SURROUNDINGS = "surroundings"
_LISTED = "count colour pattern material size shape light viewpoint pose place part".split()
TYPES = (*_LISTED, "text", "brand")

_ENDS_SENTENCE = frozenset(".!?;")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_QUOTED = re.compile(r'["“]([^"”\n]{1,60}?)[.,]?["”]')
_SHADES = frozenset("light lighter dark darker bright deep pale pastel".split())
_TONES = frozenset("color colors colour colours tone tones hue hues shade shades".split())
_SUFFIXES = {
    "-colored": "colour", "-coloured": "colour", "-toned": "colour", "-shaped": "shape", "-covered": "material",
}  # fmt: skip
_NOT_AFTER_ONE = frozenset(
    "of another can is are was has as to and or who that which may would will on".split()
)
# What puts a thing into its surroundings, and what makes it a part or a possession instead.
_PUTS_IN = frozenset(
    """in on at near nearby by under beneath below against among amongst amid amidst between behind beside
    over above across around inside within through along toward towards onto into atop upon underneath
    outside""".split()
)
# The word before one of these decides: "in front of a house", "filled with rocks", "the room has a bed".
_BACKGROUND = frozenset("background backdrop foreground room surroundings".split())
_OWNS = {
    "of": frozenset("front middle midst top edge side center".split()) | _BACKGROUND,
    "with": frozenset(["filled"]),
}
_BEHIND = frozenset("background backdrop nearby".split())
_TAKES_OUT = frozenset(
    """with has have having of features featuring includes shows is are was its from like wearing
    holding""".split()
)
_REACH = 6  # words between a thing and what puts it into its surroundings


class _Word(NamedTuple):
    text: str  # lower case, straight apostrophes
    start: int
    end: int
    sentence: int


def find_attributes(caption: str, category: str = "") -> tuple[Attribute, ...]:
    """The attributes of a caption, from left to right.

    >>> [(a.type, a.value) for a in find_attributes("Two light gray cats sit on a wooden bench.", "cat")]
    [('count', 'Two'), ('colour', 'light gray'), ('material', 'wooden'), ('place', 'bench')]
    """
    found = _quotes_and_brands(caption)
    taken = [(attribute.start, attribute.end) for attribute in found]
    if category:
        mentions = find_mentions(caption, category_pattern(category))
        taken += [(mention.start, mention.end) for mention in mentions]
    words = _words(caption, taken)
    place = 0
    while place < len(words):
        length, type_ = _match(words, place)
        if type_ and type_ != _NOTHING:
            start, end = words[place].start, words[place + length - 1].end
            found.append(Attribute(type_, caption[start:end], start, end))
        place += length
    return tuple(sorted(found, key=lambda attribute: attribute.start))


def checked(attributes: Iterable[Attribute], caption: str) -> tuple[Attribute, ...]:
    """The attributes of another tagger, sorted, if they are spans of the caption that do not overlap.

    Raises:
        FdrdError: if a type is unknown, a span is not its value, or two spans overlap.
    """
    ordered = tuple(sorted(attributes, key=lambda attribute: attribute.start))
    end = 0
    for attribute in ordered:
        if attribute.type not in TYPES:
            raise FdrdError(
                f"unknown attribute type {attribute.type!r}; known are {', '.join(TYPES)}"
            )
        if caption[attribute.start : attribute.end] != attribute.value or not attribute.value:
            raise FdrdError(f"{attribute} is no span of the caption {caption!r}")
        if attribute.start < end:
            raise FdrdError(f"{attribute} overlaps the one before it in {caption!r}")
        end = attribute.end
    return ordered


def _words(caption: str, taken: list[tuple[int, int]]) -> list[_Word]:
    """The words outside the taken spans, each with the number of its sentence."""
    words: list[_Word] = []
    sentence = end = 0
    for match in _WORD.finditer(caption):
        start = match.start()
        between = caption[end:start]
        if between != " " and not _ENDS_SENTENCE.isdisjoint(between):
            sentence += 1
        end = match.end()
        text = match.group().lower().replace("’", "'")
        if taken and any(start < right and left < end for left, right in taken):
            text = "\0"  # keeps its place among the words, matches nothing
        words.append(_Word(text, start, end, sentence))
    return words


def _match(words: list[_Word], place: int) -> tuple[int, str]:
    """How many words from `place` on belong together, and the type of their attribute or ""."""
    text = words[place].text
    if text in _SHADES and place + 1 < len(words):
        following = words[place + 1].text
        if following in _TONES:
            return 1, "colour"
        length, type_ = _listed(words, place + 1)
        if type_ == "colour":
            return length + 1, "colour"
    if text == "tall" and place and words[place - 1].text in ("stands", "standing", "stand"):
        return 1, ""  # that is how it stands, not its size
    length, type_ = _listed(words, place)
    if text == "one" and not type_:
        following = words[place + 1].text if place + 1 < len(words) else "of"
        return 1, "" if following in _NOT_AFTER_ONE else "count"
    if type_ == _SURROUNDINGS:
        return (
            (length, "place")
            if _is_put_in(words, place, length)
            else _listed(words, place, _things())
        )
    return length, type_


def _listed(words: list[_Word], place: int, table: Phrases | None = None) -> tuple[int, str]:
    text = words[place].text
    for rest, type_ in (_phrases() if table is None else table).get(text, ()):
        end = place + 1 + len(rest)
        if tuple(word.text for word in words[place + 1 : end]) == rest:
            return len(rest) + 1, type_
    if "-" in text:
        for suffix, type_ in _SUFFIXES.items():
            if text.endswith(suffix):
                return 1, type_
        if all(_is_colour(part) for part in text.split("-")):
            return 1, "colour"
    return 1, ""


def _is_put_in(words: list[_Word], place: int, length: int) -> bool:
    """Whether the words before, or a background after, make surroundings of a thing."""
    sentence = words[place].sentence
    for before in range(place - 1, max(-1, place - 1 - _REACH), -1):
        text = words[before].text
        if words[before].sentence != sentence:
            break
        if text in _PUTS_IN:
            return True
        if text in _TAKES_OUT:
            owner = words[before - 1].text if before else ""
            is_place = owner in _OWNS.get(text, _BACKGROUND)
            return is_place or _is_behind(words, place + length)
    return _is_behind(words, place + length)


def _is_behind(words: list[_Word], place: int) -> bool:
    """Whether "nearby" or "in the background" follows in the sentence."""
    after = words[place : place + _REACH]
    return any(
        word.text in _BEHIND and word.sentence == words[place - 1].sentence for word in after
    )


def _quotes_and_brands(caption: str) -> list[Attribute]:
    found = [
        Attribute("text", match[1], match.start(1), match.end(1))
        for match in _QUOTED.finditer(caption)
    ]
    for match in _brands().finditer(caption):
        if not any(a.start < match.end() and match.start() < a.end for a in found):
            found.append(Attribute("brand", match.group(), match.start(), match.end()))
    return found


def _is_colour(word: str) -> bool:
    return word in _SHADES or ((), "colour") in _phrases().get(word, ())


@cache
def _phrases() -> Phrases:
    return phrases([_NOTHING, _SURROUNDINGS, *_LISTED])


@cache
def _things() -> Phrases:
    """What the words for surroundings are where they surround nothing."""
    return phrases(_LISTED)


@cache
def _brands() -> re.Pattern[str]:
    names = sorted(entries("brand"), key=len, reverse=True)
    return re.compile(r"(?<![^\W_])(?:" + "|".join(map(re.escape, names)) + r")(?![^\W_])")
