"""English forms of a noun phrase: its plural and its indefinite article, both from `inflect`."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

_ENGLISH = re.compile(r"[A-Za-z][A-Za-z'’ -]*[A-Za-z]")
_ARTICLE_BEFORE = re.compile(r"(?<![^\W_])(an?)[\s_]+$", re.IGNORECASE)
# inflect takes these for plurals ("cactu", "iri", "bas"); they are singular.
_SINGULAR_ENDINGS = ("us", "is", "ss", "as", "os", "ese")


@cache
def _engine() -> inflect.engine:
    import typeguard

    # While it is imported, inflect has typeguard rewrite each of its methods: 1.2 s for checks of types that
    # mypy has made already.
    typechecked = typeguard.typechecked
    setattr(typeguard, "typechecked", lambda target: target)  # noqa: B010 - mypy minds the plain form
    try:
        import inflect
    finally:
        typeguard.typechecked = typechecked
    return inflect.engine()


@lru_cache(maxsize=65_536)
def plural(phrase: str) -> str:
    """The plural of a noun phrase, or the phrase itself where it has none that is known.

    >>> plural("bird of paradise"), plural("mayfly"), plural("scissors"), plural("A380")
    ('birds of paradise', 'mayflies', 'scissors', 'A380')
    """
    if not _ENGLISH.fullmatch(phrase) or looks_plural(phrase):
        return phrase
    return str(_engine().plural_noun(phrase) or phrase)


@lru_cache(maxsize=65_536)
def looks_plural(phrase: str) -> bool:
    """Whether a noun phrase has the form of a plural.

    >>> looks_plural("canterbury bells"), looks_plural("cactus"), looks_plural("great pyrenees")
    (True, False, True)
    """
    if not _ENGLISH.fullmatch(phrase) or phrase.lower().endswith(_SINGULAR_ENDINGS):
        return False
    return bool(_engine().singular_noun(phrase.split()[-1]))


@lru_cache(maxsize=65_536)
def article(phrase: str) -> str:
    """`a` or `an`, whichever `phrase` takes.

    >>> article("euphonium"), article("Egyptian Mau"), article("hour"), article("A380")
    ('a', 'an', 'an', 'an')
    """
    word = re.match(r"[\w'’-]+", phrase.replace("_", " ").strip())
    if not word or not word.group().isascii():
        return "a"
    return str(_engine().a(word.group())).split()[0]


def with_article(before: str, phrase: str) -> str:
    """`before` with an article at its end put right for `phrase`.

    >>> with_article("Here is A ", "Egyptian Mau"), with_article("This is the ", "ant")
    ('Here is An ', 'This is the ')
    """
    found = _ARTICLE_BEFORE.search(before)
    if not found:
        return before
    right = article(phrase)
    if found.group(1).lower() == right:
        return before
    right = right.capitalize() if found.group(1)[0].isupper() else right
    return before[: found.start(1)] + right + before[found.end(1) :]


def has_article(before: str) -> bool:
    """Whether `before` ends with an indefinite article."""
    return _ARTICLE_BEFORE.search(before) is not None
