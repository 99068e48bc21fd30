"""Noise filters: each says in a word whether a caption is one that no retrieval dataset should have.

A filter is a function of a `Draft`; its name in `FILTERS` is the reason of its rejections. What they are worth is
measured in docs/captions.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from fdrd.captioning.wording import breaks_off, ends
from fdrd.text.mentions import (
    MentionPattern,
    category_pattern,
    find_mentions,
    key,
    mention_pattern,
    same_name,
)
from fdrd.text.tokens import CLIP_LIMIT

FEWEST_WORDS = 3
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_QUOTED = re.compile(r"[\"“][^\"“”]*[\"”]")  # text in the picture may say anything
_NOUN = r"(?:image|picture|photo|photograph|snapshot|caption|description)"
_WHERE = re.compile(  # "on the left side of the image" says where a thing is
    r"\b(?:sides?|corners?|top|bottom|left|right|cent(?:er|re)|middle|edges?|background|foreground) of "
    rf"(?:the|this) {_NOUN}\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|i apologi[sz]e|i(?:['’]m| am)? (?:unable|not able)"
    r"|i (?:can ?not|can['’]?t|won['’]?t)"
    r"|as an ai|as a (?:large )?language model"
    r"|(?:cannot|can['’]t|unable to) (?:assist|help|comply|describe|identify|view|see)"
    r"|no image (?:was|is|has been) (?:provided|attached|given)|please (?:provide|upload|share) (?:an?|the) "
    rf"{_NOUN})",
    re.IGNORECASE,
)
_META = re.compile(
    rf"\b(?:the|this|that|an?) (?:\w+ )?{_NOUN} (?:also )?(?:itself )?"
    r"(?:features?|shows?|captures?|depicts?|displays?|presents?|showcases?|contains?|portrays?|illustrates?|includes?"
    r"|highlights?|reveals?|focus(?:es)?|appears?|seems?|conveys?|has"
    r"|is (?:taken|captured|focused|dominated|clear|blurry|likely))\b"
    rf"|\b(?:in|of|from|throughout|within) (?:the|this) {_NOUN}\b"
    rf"|\b(?:depicted|shown|captured|seen|visible|pictured) in (?:the|this) {_NOUN}\b"
    r"|\b(?:let me know|feel free to|i hope this|based on (?:the|this|your)|as requested|word count)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a filter sees.

    Attributes:
        caption: in the form that a build gives it.
        category: of the picture.
        categories: of the domain, its own among them.
        tokens: of the caption, as the text tower counts them.
        most_tokens: that it reads.
        cut: the answer ended at the limit of its length.
        score: cosine of picture and caption under the backbone; None if none was asked.
        least_score: what it must be at least; None for no limit.
    """

    caption: str
    category: str
    categories: tuple[str, ...] = ()
    tokens: int = 0
    most_tokens: int = CLIP_LIMIT
    cut: bool = False
    score: float | None = None
    least_score: float | None = None


Filter = Callable[[Draft], bool]
FILTERS: dict[str, tuple[str, Filter]] = {}
"""By name, in the order in which they are tried: what is wrong, as a model is told, and the test."""


def _filter(name: str, wrong: str) -> Callable[[Filter], Filter]:
    def register(test: Filter) -> Filter:
        FILTERS[name] = (wrong, test)
        return test

    return register


@_filter("refusal", "It refuses to describe the picture, or says that it cannot.")
def refusal(draft: Draft) -> bool:
    """The model speaks of what it cannot do.

    >>> refusal(Draft("I'm sorry, but I can't identify this bird.", "wren"))
    True
    """
    return _REFUSAL.search(_QUOTED.sub(" ", draft.caption)) is not None


@_filter("meta_talk", 'It speaks of the picture ("the image shows") and not of what is there.')
def meta_talk(draft: Draft) -> bool:
    """The caption speaks of the picture as such. "A photo of a wren", CLIP's own form, does not.

    >>> meta_talk(Draft("The image features a wren.", "wren")), meta_talk(Draft("This is a photo of a wren.", "wren"))
    (True, False)
    """
    return _META.search(_WHERE.sub(" ", _QUOTED.sub(" ", draft.caption))) is not None


@_filter("too_short", f"It has fewer than {FEWEST_WORDS} words beside the name of its subject.")
def too_short(draft: Draft) -> bool:
    """Nothing is said beside the category.

    >>> too_short(Draft("A house wren.", "house wren")), too_short(Draft("A wren on a post.", "wren"))
    (True, False)
    """
    rest = category_pattern(draft.category).sub(" ", draft.caption)
    return len(_words(rest)) < FEWEST_WORDS


@_filter("repetition", "It says the same thing again and again.")
def repetition(draft: Draft) -> bool:
    """A sentence twice, three words three times in a row, or a word that makes up a third of a caption.

    >>> repetition(Draft("A wren sits on a branch. A wren sits on a branch.", "wren"))
    True
    >>> repetition(Draft("a red wren on a red post on a red roof on a red hill by a red sea", "wren"))
    False
    """
    said = [" ".join(_words(part)) for part in re.split(r"[.!?;]+(?:\s|$)", draft.caption)]
    said = [part for part in said if part.count(" ") > 1]
    if len(set(said)) < len(said):
        return True
    words = _words(draft.caption)
    for length in range(1, 9):  # the same words, right after themselves, three times
        for start in range(len(words) - 3 * length + 1):
            part = words[start : start + length]
            if (
                part
                == words[start + length : start + 2 * length]
                == words[start + 2 * length : start + 3 * length]
            ):
                return True
    content = Counter(word for word in words if len(word) > 3)
    return len(words) >= 12 and max(content.values(), default=0) > len(words) / 3


@_filter(
    "category_contradicted",
    "It calls the subject by the name of another category, and not by its own.",
)
def category_contradicted(draft: Draft) -> bool:
    """The caption names another category of the domain in the place of its own.

    Not so if it names both: "a wren beside a robin". A category inside the picture's own name is no other one.

    >>> category_contradicted(Draft("A robin on a post.", "wren", ("owl", "robin", "wren")))
    True
    """
    return not _names_own(draft) and any(rivals_named(draft))


@_filter("category_not_named", "It does not call the subject by its name.")
def category_not_named(draft: Draft) -> bool:
    """The caption names neither its category nor another one.

    >>> category_not_named(Draft("A small bird on a post.", "wren"))
    True
    """
    return not _names_own(draft)


@_filter("cut_short", "It ends in the middle of a sentence.")
def cut_short(draft: Draft) -> bool:
    """The last sentence has no end: the model was cut off, or its words break off. A missing full stop is no such.

    >>> cut_short(Draft("A wren on a", "wren")), cut_short(Draft("A wren on a post", "wren"))
    (True, False)
    """
    return (draft.cut and not ends(draft.caption)) or breaks_off(draft.caption)


@_filter("too_long", "Its first sentence alone is longer than what CLIP reads.")
def too_long(draft: Draft) -> bool:
    """CLIP would not read it to its end.

    >>> too_long(Draft("A wren.", "wren", tokens=78))
    True
    """
    return draft.tokens > draft.most_tokens


@_filter("clip_score", "CLIP finds little in common between the caption and the picture.")
def clip_score(draft: Draft) -> bool:
    """The cosine of picture and caption is below the limit that the user set."""
    return (
        draft.score is not None
        and draft.least_score is not None
        and draft.score < draft.least_score
    )


def noise(draft: Draft, without: Collection[str] = ()) -> str:
    """The name of the first filter that rejects a caption, or "".

    >>> noise(Draft("The image shows a wren on a post.", "wren"))
    'meta_talk'
    """
    return next(
        (name for name, (_, test) in FILTERS.items() if name not in without and test(draft)), ""
    )


def rivals_named(draft: Draft) -> Iterable[str]:
    """Other categories that the caption names, but for those whose name stands inside the picture's own."""
    own, text = key(draft.category), draft.caption.casefold()
    for rival in draft.categories:
        other = key(rival)
        if other[:3] not in text or other in own or same_name(rival, draft.category):
            continue  # most are ruled out by three letters, which is fast
        if find_mentions(draft.caption, _pattern_of(rival, draft.categories)):
            yield rival


@lru_cache(maxsize=65_536)
def _pattern_of(name: str, names: tuple[str, ...]) -> MentionPattern:
    own = key(name)
    return mention_pattern(
        name, [other for other in names if own in key(other) and own != key(other)]
    )


def _names_own(draft: Draft) -> bool:
    return bool(find_mentions(draft.caption, category_pattern(draft.category)))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
