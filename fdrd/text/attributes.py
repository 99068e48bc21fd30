"""Find attribute spans in a caption from word lists (`fdrd/text/lexicon/*.txt`) and the surrounding words.

`docs/annotations.md` defines the attribute types and reports precision and recall. A word list has one entry per line,
and comments start with `#`.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from itertools import accumulate
from operator import not_

from msgspec import Struct

from fdrd.record import Attribute
from fdrd.text.mentions import category_pattern, find_mentions

Phrases = Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
"""first word of a phrase -> its other words and its type, longest first"""

_NOT_AN_ATTRIBUTE = "not_an_attribute"
_SURROUNDINGS = "surroundings"
_LISTED_TYPES = "count color pattern material size shape light viewpoint pose place part".split()
TYPES = (*_LISTED_TYPES, "text", "brand")

_ENDS_SENTENCE = frozenset(".!?;")
_WORD = re.compile(r"([^\W_]+(?:['’-][^\W_]+)*)")
_QUOTED = re.compile(r'["“]([^"”\n]{1,60}?)[.,]?["”]')
_SHADES = frozenset("light lighter dark darker bright deep pale pastel".split())
_COLOR = ((), "color")
_TONES = frozenset("color colors colour colours tone tones hue hues shade shades".split())
_SUFFIXES = {"-colored": "color", "-coloured": "color", "-toned": "color"}
_SUFFIXES |= {"-shaped": "shape", "-covered": "material"}
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


class _Words(Struct):
    """The words of a caption, in columns."""

    texts: list[str]  # lower case, straight apostrophes
    starts: list[int]
    ends: list[int]
    sentences: list[int]


def find_attributes(caption: str, category: str = "") -> tuple[Attribute, ...]:
    """Return the attributes of a caption, from left to right. They do not overlap each other or the category.

    >>> [(a.type, a.value) for a in find_attributes("Two light gray cats sit on a wooden bench.", "cat")]
    [('count', 'Two'), ('color', 'light gray'), ('material', 'wooden'), ('place', 'bench')]
    """
    found = _quotes_and_brands(caption)
    taken = [(attribute.start, attribute.end) for attribute in found]
    if category:
        mentions = find_mentions(caption, category_pattern(category))
        taken += [(mention.start, mention.end) for mention in mentions]
    words = _words(caption, taken)
    first = _first_words()
    free = 0  # the index after the last match
    for index, text in enumerate(words.texts):
        if index < free or (text not in first and "-" not in text):
            continue
        length, type_ = _match(words, index)
        free = index + length
        if type_ and type_ != _NOT_AN_ATTRIBUTE:
            start, end = words.starts[index], words.ends[free - 1]
            found.append(Attribute(type_, caption[start:end], start, end))
    return tuple(sorted(found, key=lambda attribute: attribute.start))


def _words(caption: str, taken: list[tuple[int, int]]) -> _Words:
    """Return the words, each with its sentence number. Words in the taken spans are blanked out."""
    pieces = _WORD.split(caption.replace("’", "'"))  # what is between words, and words, in turn
    borders = list(accumulate(map(len, pieces)))
    starts, ends = borders[:-1:2], borders[1::2]
    texts = [word.lower() for word in pieces[1::2]]
    goes_on = map(_ENDS_SENTENCE.isdisjoint, pieces[:-1:2])
    for left, right in taken:
        for index in range(bisect_right(ends, left), bisect_left(starts, right)):
            texts[index] = "\0"  # matches nothing
    return _Words(texts, starts, ends, list(accumulate(map(not_, goes_on))))


def _match(words: _Words, index: int) -> tuple[int, str]:
    """Return the number of words of the match at `index`, and its attribute type or ""."""
    texts = words.texts
    text = texts[index]
    if text in _SHADES and index + 1 < len(texts):
        if texts[index + 1] in _TONES:
            return 1, "color"
        length, type_ = _listed(texts, index + 1, _phrases())
        if type_ == "color":
            return length + 1, "color"
    if text == "tall" and index and texts[index - 1] in ("stands", "standing", "stand"):
        return 1, ""  # describes the pose, not the size
    length, type_ = _listed(texts, index, _phrases())
    if text == "one" and not type_:
        following = texts[index + 1] if index + 1 < len(texts) else "of"
        return 1, "" if following in _NOT_AFTER_ONE else "count"
    if type_ == _SURROUNDINGS:
        if _is_surroundings(words, index, length):
            return length, "place"
        return _listed(texts, index, _things())
    return length, type_


def _listed(texts: list[str], index: int, table: Phrases) -> tuple[int, str]:
    text = texts[index]
    for rest, type_ in table.get(text, ()):
        if not rest or tuple(texts[index + 1 : index + 1 + len(rest)]) == rest:
            return len(rest) + 1, type_
    if "-" in text:
        for suffix, type_ in _SUFFIXES.items():
            if text.endswith(suffix):
                return 1, type_
        if all(part in _SHADES or _COLOR in _phrases().get(part, ()) for part in text.split("-")):
            return 1, "color"
    return 1, ""


def _is_surroundings(words: _Words, index: int, length: int) -> bool:
    """Check if the words before or after make a noun part of the surroundings."""
    sentence = words.sentences[index]
    for before in range(index - 1, max(-1, index - 1 - _MAX_DISTANCE), -1):
        text = words.texts[before]
        if words.sentences[before] != sentence:
            break
        if text in _BEFORE_SURROUNDINGS:
            return True
        if text in _BEFORE_PARTS:
            owner = words.texts[before - 1] if before else ""
            if owner in _EXCEPTIONS.get(text, _BACKGROUND):
                return True
            break
    # Or "nearby" or "in the background" follows in the sentence.
    following = slice(index + length, index + length + _MAX_DISTANCE)
    after = zip(words.texts[following], words.sentences[following], strict=True)
    last = words.sentences[index + length - 1]
    return any(text in _AFTER_SURROUNDINGS and sentence == last for text, sentence in after)


def _quotes_and_brands(caption: str) -> list[Attribute]:
    found = [Attribute("text", m[1], m.start(1), m.end(1)) for m in _QUOTED.finditer(caption)]
    for match in _brands().finditer(caption):
        if not any(a.start < match.end() and match.start() < a.end for a in found):
            found.append(Attribute("brand", match.group(), match.start(), match.end()))
    return found


@cache
def _phrases() -> Phrases:
    return _read_phrases([_NOT_AN_ATTRIBUTE, _SURROUNDINGS, *_LISTED_TYPES])


@cache
def _first_words() -> frozenset[str]:
    """Return the words with which a match can begin, except those with a hyphen."""
    return frozenset(_phrases()) | _SHADES | {"one"}


@cache
def _things() -> Phrases:
    """Return the lists without the words for surroundings."""
    return _read_phrases(_LISTED_TYPES)


@cache
def _brands() -> re.Pattern[str]:
    names = sorted(entries("brand"), key=len, reverse=True)
    # The look-behind comes after the first letter, so that the search can skip to it.
    choices = (rf"{re.escape(name[0])}(?<![^\W_].){re.escape(name[1:])}" for name in names)
    return re.compile(rf"(?:{'|'.join(choices)})(?![^\W_])")


@cache
def entries(name: str) -> tuple[str, ...]:
    """Return the entries of `fdrd/text/lexicon/<name>.txt` in file order.

    >>> "polka dot" in entries("pattern")
    True
    """
    path = files("fdrd.text") / "lexicon" / f"{name}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _read_phrases(names: Iterable[str]) -> Phrases:
    """Return the entries of several lists by their first word. Earlier lists take precedence."""
    types: dict[tuple[str, ...], str] = {}
    for name in names:
        for entry in entries(name):
            types.setdefault(tuple(entry.lower().split()), name)
    table: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for (first, *rest), name in sorted(types.items(), key=lambda item: -len(item[0])):
        table.setdefault(first, []).append((tuple(rest), name))
    return {first: tuple(choices) for first, choices in table.items()}
