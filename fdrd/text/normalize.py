"""Normalize captions and category names, move spans to the new text, and compute short keys of texts.

The applied rules are reported (keys of `fdrd.reasons.RULES`).
"""

from __future__ import annotations

import difflib
import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from fdrd.record import Attribute
from fdrd.text.mentions import fix_articles

MAX_MOVED = 2000  # characters of a caption whose spans are followed through its normalization
MAX_MARKS = 1000
"""Combining marks in a row, because the time for ordering them grows with their square."""

_WINDOW = 40  # characters of one change
_AHEAD = 8  # equal characters that end it
_REST = 200  # characters at the end of a caption that may have no such part
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_NUMBER = re.compile(r"^[0-9]{3}\.(?=[^\W\d])")  # of CUB and Caltech-256: 001.ak47
_INNER_UNDERSCORES = re.compile(r"(?<=[^\W_])_+(?=[^\W_])")
# The end of a sentence without a space: "banded.The image", "SUV 2000.The", "MG.A car", "Type R.A car", but not
# "U.S.A", "e.g.".
_GLUED = re.compile(
    r"""[.!?](?:(?<=[a-zß-öø-ÿ0-9)"'’”][a-zß-öø-ÿ0-9)"'’”].)|(?<=[A-Z][A-Z0-9].)|(?<=[a-z][ ][A-Z].))"""
    r"""(?=["“']?[A-Z][\w'’-]*[\s,])"""
)


def normalize_caption(caption: str) -> tuple[str, tuple[str, ...]]:
    """Normalize Unicode, white space, HTML entities, underscores between words, and glued sentences.

    >>> normalize_caption("This is a photo of car_side.The  car is red.")[0]
    'This is a photo of car side. The car is red.'
    >>> normalize_caption("A  car_side.")[1]
    ('caption_whitespace', 'caption_underscores')
    >>> normalize_caption("Salt &amp; pepper\u200b.")
    ('Salt & pepper.', ('caption_entities', 'caption_invisible'))
    >>> normalize_caption("This is a Type R.A white car is here.")[0]
    'This is a Type R. A white car is here.'
    >>> normalize_caption("A U.S.A. flag, e.g. this one.")
    ('A U.S.A. flag, e.g. this one.', ())
    """
    with_entities = "&" in caption
    plain = _ENTITY.sub(lambda e: html.unescape(e[0]), caption) if with_entities else caption
    shown = plain if plain.isprintable() else "".join(filter(_shows, plain))
    single = " ".join(unicodedata.normalize("NFC", shown).split())
    spaced = _INNER_UNDERSCORES.sub(" ", single) if "_" in single else single
    apart = _GLUED.sub(r"\g<0> ", spaced)
    steps = {
        "caption_entities": plain != caption,
        "caption_invisible": shown != plain,
        "caption_whitespace": single != shown,
        "caption_underscores": spaced != single,
        "caption_glued": apart != spaced,
    }
    return apart, tuple(rule for rule, applied in steps.items() if applied)


def has_too_many_marks(text: str) -> bool:
    """Check for over `MAX_MARKS` combining marks in a row.

    >>> has_too_many_marks("e\u0301\u0316"), has_too_many_marks("e" + "\u0301" * 1001)
    (False, True)
    """
    if len(text) <= MAX_MARKS or text.isascii():
        return False
    marks = (unicodedata.combining(sign) > 0 for sign in text)
    runs = (len(list(run)) for is_mark, run in groupby(marks) if is_mark)
    return max(runs, default=0) > MAX_MARKS


def _shows(character: str) -> bool:
    """Check for a visible character, white space, or a joiner of scripts and emoji."""
    is_hidden = unicodedata.category(character) in ("Cc", "Cf")
    return not is_hidden or character.isspace() or character in "\u200c\u200d"


def normalize_described(caption: str, category: str) -> tuple[str, tuple[str, ...]]:
    """Normalize the caption of an image of `category`, including the article before the category.

    >>> normalize_described("This is a azalea.", "azalea")
    ('This is an azalea.', ('article_fixed',))
    """
    plain, rules = normalize_caption(caption)
    fixed = fix_articles(plain, category)
    return fixed, rules if fixed == plain else (*rules, "article_fixed")


@lru_cache(maxsize=8192)
def normalize_category(name: str) -> tuple[str, tuple[str, ...]]:
    """Normalize Unicode, underscores and white space of a category name, and remove its number.

    >>> normalize_category("car_side")
    ('car side', ('category_underscores',))
    >>> normalize_category("001.Ivory Gull"), normalize_category("3.5 mm jack")[0]
    (('Ivory Gull', ('category_number',)), '3.5 mm jack')
    """
    plain = " ".join(unicodedata.normalize("NFC", name).split())
    named = _NUMBER.sub("", plain)
    spaced = " ".join(named.replace("_", " ").split())
    steps = {"category_number": named != plain, "category_underscores": spaced != named}
    return spaced, tuple(rule for rule, applied in steps.items() if applied)


def move_spans(attributes: Iterable[Attribute], before: str, after: str) -> tuple[Attribute, ...]:
    """Return the attributes of `before` at their positions in `after`, its normalized form.

    Spans of which nothing is left are dropped. Raise `ValueError` if the texts have over `MAX_MOVED` characters, or
    hardly an equal part.

    >>> move_spans([Attribute("color", "red", 7, 10)], "A  big red car.", "A big red car.")
    (Attribute(type='color', value='red', start=6, end=9),)
    """
    if before == after:
        return tuple(attributes)
    if max(len(before), len(after)) > MAX_MOVED:
        flaw = f"through the changes of a caption of over {MAX_MOVED} characters"
        raise ValueError(f"spans cannot be followed {flaw}")
    blocks = list(_equal_parts(before, after))
    moved = []
    for attribute in attributes:
        kept = [
            (max(attribute.start, a) - a + b, min(attribute.end, a + size) - a + b)
            for a, b, size in blocks
            if max(attribute.start, a) < min(attribute.end, a + size)
        ]
        if kept:
            start, end = kept[0][0], kept[-1][1]
            moved.append(Attribute(attribute.type, after[start:end], start, end))
    return tuple(moved)


def _equal_parts(before: str, after: str) -> Iterator[tuple[int, int, int]]:
    """Yield (start in `before`, start in `after`, length) of equal parts, in order.

    White space, invisible characters, underscores and entities explain themselves. Other changes are short: only their
    surroundings are compared by `difflib`, whose time grows with the cube. Raise `ValueError` if there are too many.
    """
    a = b = 0
    while a < len(before) and b < len(after):
        start = a
        while before[a : a + 1] == after[b : b + 1] != "" and not _ENTITY.match(before, a):
            a, b = a + 1, b + 1
        if a > start:
            yield start, b - (a - start), a - start
        if entity := _ENTITY.match(before, a):
            sign = html.unescape(entity[0])
            if sign == "&" == after[b : b + 1]:
                yield a, b, 1
            a, b = entity.end(), b + len(sign) * after.startswith(sign, b)
        elif before[a : a + 1] == " " or not before[a : a + 1].isprintable():
            a += 1
        elif (before[a : a + 1], after[b : b + 1]) == ("_", " "):
            a, b = a + 1, b + 1
        elif a < len(before) and b < len(after):
            more, less = _changed(before, after, a, b)
            inner = difflib.SequenceMatcher(None, before[a : a + more], after[b : b + less], False)
            for x, y, size in inner.get_matching_blocks()[:-1]:
                yield a + x, b + y, size
            a, b = a + more, b + less


def _changed(before: str, after: str, a: int, b: int) -> tuple[int, int]:
    """Return how much differs in each text until both agree again."""
    for total in range(1, 2 * _WINDOW):
        for more in range(max(0, total - _WINDOW), min(total, _WINDOW) + 1):
            ahead = after[b + total - more : b + total - more + _AHEAD]
            is_end = len(ahead) == len(before) - a - more
            if before.startswith(ahead, a + more) and (len(ahead) == _AHEAD or is_end):
                return more, total - more
    if max(len(before) - a, len(after) - b) <= _REST:
        return _REST, _REST
    raise ValueError("spans cannot be followed through so many changes of a caption")


def text_key(text: str) -> int:
    """Return 64 bits of a hash of a text."""
    data = text.encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
