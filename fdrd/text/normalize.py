"""Normalize captions and category names, move spans to the new text, and compute short keys of texts.

The applied rules are reported (keys of `fdrd.reasons.RULES`).
"""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

from fdrd.record import Attribute
from fdrd.text.mentions import fix_articles

MAX_MOVED = 2000  # characters of a caption whose spans are followed through its normalization
MAX_MARKS = 1000
"""Combining marks in a row, because the time for ordering them grows with their square."""

_SHIFT = 8  # characters by which fixed articles may move a span between two others
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
    """Return the attributes of `before` at their positions in `after`, its normalized form, sorted by their start.

    Spans of which nothing is left are dropped. Raise `ValueError` if the texts have over `MAX_MOVED` characters.

    >>> move_spans([Attribute("color", "red", 7, 10)], "A  big red car.", "A big red car.")
    (Attribute(type='color', value='red', start=6, end=9),)
    """
    if before == after:
        return tuple(attributes)
    if max(len(before), len(after)) > MAX_MOVED:
        flaw = f"through the changes of a caption of over {MAX_MOVED} characters"
        raise ValueError(f"spans cannot be followed {flaw}")
    moved = []
    last = near = 0
    for attribute in sorted(attributes, key=lambda attribute: attribute.start):
        value = normalize_caption(before[attribute.start : attribute.end])[0]
        # The part before it as it is followed by the value: with its last space.
        part = before[last : attribute.start] + value[:1]
        near += len(normalize_caption(part)[0]) - len(value[:1])
        last = attribute.start
        around = sorted(range(max(0, near - _SHIFT), near + _SHIFT), key=lambda at: abs(at - near))
        start = next((at for at in around if value and after.startswith(value, at)), -1)
        if start >= 0:
            near = start
            moved.append(Attribute(attribute.type, value, start, start + len(value)))
    return tuple(moved)


def text_key(text: str) -> int:
    """Return 64 bits of a hash of a text."""
    data = text.encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
