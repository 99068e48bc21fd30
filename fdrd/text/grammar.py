"""English plurals and indefinite articles of noun phrases, from `inflect`."""

import re
import sys
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

MAX_LETTERS = 1000
MAX_WORDS = 50
"""Longer phrases are not given a plural: the time of `inflect` grows with the square of letters and words."""

_ENGLISH = re.compile(r"[A-Za-z][A-Za-z'’ -]*[A-Za-z]")
_ARTICLE_BEFORE = re.compile(r"(?<![^\W_])(an?)[\s_]+$", re.IGNORECASE)
_MAY_END_ARTICLE = frozenset("aAnN_")  # without white space after it
# Singular endings that inflect mistakes for plurals ("cactu", "iri", "bas").
_SINGULAR_ENDINGS = ("us", "is", "ss", "as", "os", "ese")


@cache
def _engine() -> "inflect.engine":
    # On import, inflect lets typeguard rewrite each of its methods, which takes over a second and is not needed.
    # While it is imported, a module that does nothing takes the place of typeguard.
    earlier = sys.modules.pop("typeguard", None)
    sys.modules["typeguard"] = idle = ModuleType("typeguard")
    idle.__dict__["typechecked"] = lambda target: target
    try:
        import inflect
    finally:
        del sys.modules["typeguard"]
        if earlier:
            sys.modules["typeguard"] = earlier
    return inflect.engine()


@lru_cache(maxsize=65_536)
def plural(phrase: str) -> str:
    """Return the plural of a noun phrase, or the phrase itself if no plural is known or it is very long.

    >>> plural("bird of paradise"), plural("mayfly"), plural("scissors"), plural("A380")
    ('birds of paradise', 'mayflies', 'scissors', 'A380')
    """
    if _is_long(phrase) or not _ENGLISH.fullmatch(phrase) or looks_plural(phrase):
        return phrase
    return str(_engine().plural_noun(phrase) or phrase)


@lru_cache(maxsize=65_536)
def looks_plural(phrase: str) -> bool:
    """Check if a noun phrase looks like a plural.

    >>> looks_plural("canterbury bells"), looks_plural("cactus"), looks_plural("great pyrenees")
    (True, False, True)
    """
    if _is_long(phrase) or not _ENGLISH.fullmatch(phrase):
        return False
    if phrase.lower().endswith(_SINGULAR_ENDINGS):
        return False
    return bool(_engine().singular_noun(phrase.split()[-1]))


@lru_cache(maxsize=65_536)
def article(phrase: str) -> str:
    """Return the indefinite article of a phrase: `a` or `an`.

    >>> article("euphonium"), article("Egyptian Mau"), article("hour"), article("A380")
    ('a', 'an', 'an', 'an')
    """
    word = re.match(r"[\w'’-]+", phrase.replace("_", " ").strip())
    if not word or not word.group().isascii():
        return "a"
    return str(_engine().a(word.group())).split()[0]


def with_article(before: str, phrase: str) -> str:
    """Return `before`, with an indefinite article at its end fixed for `phrase`.

    >>> with_article("Here is A ", "Egyptian Mau"), with_article("This is the ", "ant")
    ('Here is An ', 'This is the ')
    """
    found = _article_before(before)
    if not found:
        return before
    right = article(phrase)
    if found.group(1).lower() == right:
        return before
    right = right.capitalize() if found.group(1)[0].isupper() else right
    return before[: found.start(1)] + right + before[found.end(1) :]


def has_article(before: str) -> bool:
    """Check if `before` ends with an indefinite article."""
    return _article_before(before) is not None


def _is_long(phrase: str) -> bool:
    return len(phrase) > MAX_LETTERS or phrase.count(" ") >= MAX_WORDS


def _article_before(text: str) -> re.Match[str] | None:
    """Return the match of an indefinite article at the end of a text. Few texts need the slow search."""
    return _ARTICLE_BEFORE.search(text) if text.rstrip()[-1:] in _MAY_END_ARTICLE else None
