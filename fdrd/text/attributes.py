"""Find attribute spans in a caption from word lists (`fdrd/text/lexicon/*.txt`) and the surrounding words.

`docs/annotations.md` defines the attribute types and reports precision and recall.
"""

from __future__ import annotations

import re
from functools import cache

from msgspec import Struct

from fdrd.record import Attribute
from fdrd.text.lexicon import Phrases, entries, phrases
from fdrd.text.mentions import category_pattern, find_mentions

_NOT_AN_ATTRIBUTE = "not_an_attribute"
_SURROUNDINGS = "surroundings"
_LISTED_TYPES = "count colour pattern material size shape light viewpoint pose place part".split()
TYPES = (*_LISTED_TYPES, "text", "brand")

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
# Words after which a noun is part of the surroundings.
_BEFORE_SURROUNDINGS = frozenset(
    """in on at near nearby by under beneath below against among amongst amid amidst between behind beside
    over above across around inside within through along toward towards onto into atop upon underneath
    outside""".split()
)
# Exceptions to _BEFORE_PARTS by the word before: "in front of a house", "filled with rocks", "the room has a bed".
_BACKGROUND = frozenset("background backdrop foreground room surroundings".split())
_EXCEPTIONS = {
    "of": frozenset("front middle midst top edge side center".split()) | _BACKGROUND,
    "with": frozenset(["filled"]),
}
_AFTER_SURROUNDINGS = frozenset("background backdrop nearby".split())
# Words after which a noun is a part or a possession.
_BEFORE_PARTS = frozenset(
    """with has have having of features featuring includes shows is are was its from like wearing
    holding""".split()
)
_MAX_DISTANCE = 6  # maximum number of words between such a word and the noun


class _Word(Struct, gc=False):
    text: str  # lower case, straight apostrophes
    start: int
    end: int
    sentence: int


def find_attributes(caption: str, category: str = "") -> tuple[Attribute, ...]:
    """Return the attributes of a caption, from left to right. They do not overlap each other or the category.

    >>> [(a.type, a.value) for a in find_attributes("Two light gray cats sit on a wooden bench.", "cat")]
    [('count', 'Two'), ('colour', 'light gray'), ('material', 'wooden'), ('place', 'bench')]
    """
    found = _quotes_and_brands(caption)
    taken = [(attribute.start, attribute.end) for attribute in found]
    if category:
        mentions = find_mentions(caption, category_pattern(category))
        taken += [(mention.start, mention.end) for mention in mentions]
    words = _words(caption, taken)
    starts = _starts()
    place = 0
    while place < len(words):
        text = words[place].text
        if text not in starts and "-" not in text:
            place += 1
            continue
        length, type_ = _match(words, place)
        if type_ and type_ != _NOT_AN_ATTRIBUTE:
            start, end = words[place].start, words[place + length - 1].end
            found.append(Attribute(type_, caption[start:end], start, end))
        place += length
    return tuple(sorted(found, key=lambda attribute: attribute.start))


def _words(caption: str, taken: list[tuple[int, int]]) -> list[_Word]:
    """Return the words, each with its sentence number. Words in the taken spans are blanked out."""
    words: list[_Word] = []
    sentence = end = 0
    for match in _WORD.finditer(caption):
        start = match.start()
        between = caption[end:start]
        if between != " " and not _ENDS_SENTENCE.isdisjoint(between):
            sentence += 1
        end = match.end()
        text = match.group().lower().replace("’", "'")
        for left, right in taken:
            if start < right and left < end:
                text = "\0"  # matches nothing
        words.append(_Word(text, start, end, sentence))
    return words


def _match(words: list[_Word], place: int) -> tuple[int, str]:
    """Return the number of words of the match at `place`, and its attribute type or ""."""
    text = words[place].text
    if text in _SHADES and place + 1 < len(words):
        following = words[place + 1].text
        if following in _TONES:
            return 1, "colour"
        length, type_ = _listed(words, place + 1)
        if type_ == "colour":
            return length + 1, "colour"
    if text == "tall" and place and words[place - 1].text in ("stands", "standing", "stand"):
        return 1, ""  # describes the pose, not the size
    length, type_ = _listed(words, place)
    if text == "one" and not type_:
        following = words[place + 1].text if place + 1 < len(words) else "of"
        return 1, "" if following in _NOT_AFTER_ONE else "count"
    if type_ == _SURROUNDINGS:
        if _is_surroundings(words, place, length):
            return length, "place"
        return _listed(words, place, _things())
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
        if all(_is_color(part) for part in text.split("-")):
            return 1, "colour"
    return 1, ""


def _is_surroundings(words: list[_Word], place: int, length: int) -> bool:
    """Check if the words before or after make a noun part of the surroundings."""
    sentence = words[place].sentence
    for before in range(place - 1, max(-1, place - 1 - _MAX_DISTANCE), -1):
        text = words[before].text
        if words[before].sentence != sentence:
            break
        if text in _BEFORE_SURROUNDINGS:
            return True
        if text in _BEFORE_PARTS:
            owner = words[before - 1].text if before else ""
            is_place = owner in _EXCEPTIONS.get(text, _BACKGROUND)
            return is_place or _is_background(words, place + length)
    return _is_background(words, place + length)


def _is_background(words: list[_Word], place: int) -> bool:
    """Check if "nearby" or "in the background" follows in the sentence."""
    after = words[place : place + _MAX_DISTANCE]
    return any(
        word.text in _AFTER_SURROUNDINGS and word.sentence == words[place - 1].sentence
        for word in after
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


def _is_color(word: str) -> bool:
    return word in _SHADES or ((), "colour") in _phrases().get(word, ())


@cache
def _phrases() -> Phrases:
    return phrases([_NOT_AN_ATTRIBUTE, _SURROUNDINGS, *_LISTED_TYPES])


@cache
def _starts() -> frozenset[str]:
    """Return the words with which a match can begin, except those with a hyphen."""
    return frozenset(_phrases()) | _SHADES | {"one"}


@cache
def _things() -> Phrases:
    """Return the lists without the words for surroundings."""
    return phrases(_LISTED_TYPES)


@cache
def _brands() -> re.Pattern[str]:
    names = sorted(entries("brand"), key=len, reverse=True)
    return re.compile(r"(?<![^\W_])(?:" + "|".join(map(re.escape, names)) + r")(?![^\W_])")
