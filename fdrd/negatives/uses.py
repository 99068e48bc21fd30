"""How the captions of a domain use an attribute value: the words before it, what it describes, and the category.

A value replaces another only where the domain's captions use it in the same way: "soaring" replaces "parked" for
airplanes, and never for cars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

from fdrd.record import Attribute, Record, TaggedCaption
from fdrd.text.lexicon import entries

DESCRIBING = frozenset("color pattern material size shape count light viewpoint".split())
"""types of values that describe a noun; the others describe the image's subject"""
BEFORE, THING, CATEGORY = range(3)
"""places in the result of `uses`"""

JOINS = frozenset([",", "and", ", and", "or", "&"])
"""what stands between values of one thing"""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NEXT = re.compile(r"[\s,/-]*(?:(?:and|or|&)\s+)?([^\W_]+(?:['’-][^\W_]+)*)")
_MARKS = frozenset(".,;:!?")
_UNSURE = re.compile(
    r"\b(?:possibly|perhaps|maybe|probably|likely|potentially|might|may|could|either|or)\b",
    re.IGNORECASE,
)
_STEM = 4  # letters
_FAR = 48  # characters before a value that are searched
_DETERMINERS = frozenset("a an the its his her their this that these those some".split())
_LINKS = frozenset(
    """is are was were be being been appears appear seems looks and or of in with has have mostly mainly primarily
    predominantly also both very quite slightly all entirely either""".split()
)
_NO_NOUNS = _DETERMINERS | frozenset(
    """is are was were in on at of with and or but as by from to for over under against near behind beside around
    along across into onto while that which who where it he she they has have""".split()
)


def uses(
    record: Record | TaggedCaption, span: Attribute, describing: Mapping[int, int]
) -> tuple[str, str, str]:
    """Return the words before a value, the noun that it describes or the next word, and the category.

    Args:
        record: its caption, category and attributes are used.
        span: one of its attributes.
        describing: start -> end of its attributes that describe a noun (`describing`).
    """
    caption = record.caption
    before = _WORD.findall(caption[max(0, span.start - _FAR) : span.start].lower())
    before = [word for word in before if word not in _DETERMINERS]
    left = "<" + " ".join(before[-2:])
    own = "=" + record.category
    following = _NEXT.match(caption, span.end)
    if span.type not in DESCRIBING:
        if not following or caption[span.end : span.end + 1] in _MARKS:
            return left, ">", own
        return left, f">{following[1].lower()} {_object(caption, following.end(), describing)}", own
    while following and following.start(1) in describing:
        following = _NEXT.match(caption, describing[following.start(1)])
    name = record.category
    if following and name:
        start = following.start(1)
        if caption[start : start + len(name)].lower() == name.lower():
            return left, "~" + name, own
    word = following[1].lower() if following else ""
    if word and word not in _NO_NOUNS:
        return left, ">" + word, own
    noun = _described(caption, span.start, describing)
    return left, "^" + noun, own


def has_clear_color(noun: str) -> bool:
    """Check if a thing has one color, whoever describes it.

    >>> has_clear_color("collar"), has_clear_color("accents"), has_clear_color("adorned")
    (True, False, False)
    """
    return not (noun.endswith("ed") or {noun, noun.removesuffix("s")} & _vague())


def unsure_parts(caption: str) -> list[tuple[int, int]]:
    """Return where the sentences start and end that are not sure: "possibly a table", "made of wood or plastic".

    >>> unsure_parts("A cat. Possibly a table? A red chair.")
    [(6, 23)]
    """
    return [
        (1 + max(caption.rfind(mark, 0, found.start()) for mark in ".!?"), _end(caption, found))
        for found in _UNSURE.finditer(caption)
    ]


def _end(caption: str, found: re.Match[str]) -> int:
    """Return where the sentence of a match ends."""
    ends = [caption.find(mark, found.end()) for mark in ".!?"]
    return min((end for end in ends if end >= 0), default=len(caption))


def is_repeated(caption: str, span: Attribute) -> bool:
    """Check if a caption has a word twice that begins as the value does: "a wooden table. The wood is old"."""
    stem = _WORD.findall(span.value.lower())[-1][:_STEM]
    words: list[str] = _WORD.findall(caption.lower())
    return sum(word.startswith(stem) for word in words) > 1


@cache
def _vague() -> frozenset[str]:
    return frozenset(entries("vague"))


def describing(record: Record | TaggedCaption) -> dict[int, int]:
    """Return start -> end of the attributes that describe a noun."""
    return {span.start: span.end for span in record.attributes if span.type in DESCRIBING}


def joined(record: Record | TaggedCaption) -> list[tuple[Attribute, Attribute]]:
    """Return the neighbors of one type that a caption joins: red and white, white and blue in "red, white and blue".

    >>> [(one.value, other.value) for one, other in joined(TaggedCaption("A red and white cat.", "cat", (
    ...     Attribute("color", "red", 2, 5), Attribute("color", "white", 10, 15))))]
    [('red', 'white')]
    """
    return [
        (one, other)
        for one, other in pairwise(record.attributes)
        if one.type == other.type and record.caption[one.end : other.start].strip().lower() in JOINS
    ]


def _object(caption: str, start: int, describing: Mapping[int, int]) -> str:
    """Return the next word but determiners and attributes that describe it: "hind" in "standing on its hind legs"."""
    following = None if caption[start : start + 1] in _MARKS else _NEXT.match(caption, start)
    while following:
        if following.start(1) in describing:
            following = _NEXT.match(caption, describing[following.start(1)])
        elif following[1].lower() in _DETERMINERS:
            following = _NEXT.match(caption, following.end())
        else:
            return following[1].lower()
    return ""


def _described(caption: str, end: int, describing: Mapping[int, int]) -> str:
    """Return the last word before `end` that is neither a link ("is", "and") nor describes: "petals are white and"."""
    start = max(0, end - _FAR)
    words = list(_WORD.finditer(caption, start, end))
    for word in reversed(words):
        text = word[0].lower()
        if (
            text in _LINKS
            or text in _DETERMINERS
            or any(first <= word.start() < last for first, last in describing.items())
        ):
            continue
        return text
    return ""
