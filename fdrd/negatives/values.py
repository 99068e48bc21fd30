"""Attribute values: which exclude each other, and how the captions of a domain use them.

Two values exclude each other, so that replacing one by the other makes a caption wrong, if a line of
`fdrd/text/lexicon/contrasts.txt` has both, no line joins them by `=`, and neither is a shade of the other.

The use of a value is the words before it, what it describes, and the category. A value replaces another only where the
domain's captions use it in the same way: "soaring" replaces "parked" for airplanes, and never for cars.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import pairwise

from fdrd.record import Attribute, Record, TaggedCaption
from fdrd.text.attributes import entries

_SHADE = re.compile(
    r"(?:light|lighter|dark|darker|bright|deep|pale|pastel|reddish|yellowish|grayish|greyish)[ -]"
)
_TOWARD = dict.fromkeys(("light", "lighter", "pale", "pastel"), "white")
_TOWARD |= dict.fromkeys(("dark", "darker", "deep"), "black")

Value = tuple[str, str]  # type and value of an attribute, in lower case
Contrasts = Mapping[str, tuple[tuple[int, int], ...]]
"""value -> (line, group in the line) for each line of a type that has it"""

DESCRIBING = frozenset("color pattern material size shape count light viewpoint".split())
"""types of values that describe a noun; the others describe the image's subject"""
BEFORE, THING, CATEGORY = range(3)  # positions in the result of `uses`

JOINS = frozenset([",", "and", ", and", "or", "&"])  # what stands between values of one thing

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
_LINKS = _DETERMINERS | frozenset(
    """is are was were be being been appears appear seems looks and or of in with has have mostly mainly primarily
    predominantly also both very quite slightly all entirely either""".split()
)
_NO_NOUNS = _DETERMINERS | frozenset(
    """is are was were in on at of with and or but as by from to for over under against near behind beside around
    along across into onto while that which who where it he she they has have""".split()
)


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


def value_of(span: Attribute) -> Value:
    """Return type and value of an attribute, in lower case."""
    return span.type, span.value.lower()


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
        type_: {value: tuple(groups) for value, groups in values.items()}
        for type_, values in table.items()
    }


@cache
def _choices() -> frozenset[int]:
    """Return the lines with several groups; the others list what people may confuse."""
    return frozenset(line for line, entry in enumerate(entries("contrasts")) if "," in entry)


def uses(
    record: Record | TaggedCaption, span: Attribute, describing: Mapping[int, int]
) -> tuple[str, str, str]:
    """Return the words before a value, the noun that it describes or the next word, and the category.

    `describing` maps start to end of the attributes of the record that describe a noun.
    """
    caption = record.caption
    before = _WORD.findall(caption[max(0, span.start - _FAR) : span.start].lower())
    before = [word for word in before if word not in _DETERMINERS]
    left = "<" + " ".join(before[-2:])
    category = "=" + record.category
    following = _NEXT.match(caption, span.end)
    if span.type not in DESCRIBING:
        if not following or caption[span.end : span.end + 1] in _MARKS:
            return left, ">", category
        return (
            left,
            f">{following[1].lower()} {_object(caption, following.end(), describing)}",
            category,
        )
    while following and following.start(1) in describing:
        following = _NEXT.match(caption, describing[following.start(1)])
    name = record.category
    if following and name:
        start = following.start(1)
        if caption[start : start + len(name)].lower() == name.lower():
            return left, "~" + name, category
    word = following[1].lower() if following else ""
    if word and word not in _NO_NOUNS:
        return left, ">" + word, category
    noun = _described(caption, span.start, describing)
    return left, "^" + noun, category


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
    parts = []
    for found in _UNSURE.finditer(caption):
        start = 1 + max(caption.rfind(mark, 0, found.start()) for mark in ".!?")
        ends = [caption.find(mark, found.end()) for mark in ".!?"]
        parts.append((start, min((end for end in ends if end >= 0), default=len(caption))))
    return parts


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
    for word in reversed(list(_WORD.finditer(caption, start, end))):
        describes = any(first <= word.start() < last for first, last in describing.items())
        if word[0].lower() not in _LINKS and not describes:
            return word[0].lower()
    return ""
