"""Heuristics for flaws of captions and negatives that the text alone shows."""

import re
from collections.abc import Callable, Iterator

from fdrd.negatives.given import plain
from fdrd.record import Record
from fdrd.text.grammar import article
from fdrd.text.mentions import category_pattern, is_mentioned
from fdrd.text.tokens import CLIP_LIMIT, estimate_clip_tokens

FLAWS: dict[str, str] = {
    "category_not_named": "the caption does not name its category (any case, plural, `_` or `-` for a space)",
    "too_long": f"more than {CLIP_LIMIT} CLIP tokens (estimate)",
    "wrong_article": '"a" before a word that takes "an", or the other way round',
    "glued_sentences": "no space between two sentences",
    "doubled_word": 'the same word twice in a row ("the the")',
    "no_full_stop": "no punctuation at the end",
    "underscore": "an underscore between words",
}

NEGATIVE_FLAWS: dict[str, str] = {
    "equal": "equals the row's caption, ignoring case and white space",
    "repeated": "equals an earlier negative of the row",
    "true_elsewhere": "equals the caption of another row",
    "own_category": "a category swap to the row's own category",
    "unknown_category": "names no category of the domain",
    "wrong_article": FLAWS["wrong_article"],
}

# Look-behinds come after the first characters, so that the search can skip to them.
_ARTICLE = re.compile(r"([Aa](?= )(?<![^\W_].)|[Aa]n(?= )(?<![^\W_]..)) ([^\W\d_][\w'’-]*)")
_GLUED = re.compile(r"[.!?](?<=[a-z0-9)].)[A-Z][a-z]")
_DOUBLED = re.compile(r"(?<![^\W_])([^\W\d_]{2,}) \1(?![^\W_])", re.IGNORECASE)
_ENDS = re.compile(r"[.!?…。！？][\"'”’)]?$")


def caption_flaws(caption: str, category: str) -> Iterator[str]:
    """Yield the keys of `FLAWS` that apply.

    >>> list(caption_flaws("This is a azalea.The the flower", "rose"))
    ['category_not_named', 'wrong_article', 'glued_sentences', 'doubled_word', 'no_full_stop']
    """
    if category and not is_mentioned(caption, category_pattern(category)):
        yield "category_not_named"
    if estimate_clip_tokens(caption) > CLIP_LIMIT:
        yield "too_long"
    if wrong_articles(caption):
        yield "wrong_article"
    if _GLUED.search(caption):
        yield "glued_sentences"
    if _DOUBLED.search(caption):
        yield "doubled_word"
    if not _ENDS.search(caption.strip()):
        yield "no_full_stop"
    if "_" in caption and re.search(r"\w_+\w", caption):
        yield "underscore"


def flawed_negatives(record: Record, is_true: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yield the keys of `NEGATIVE_FLAWS` that apply to a record, each with the negative.

    `is_true` tells whether a text, normalized by `plain`, is the caption of some row.
    """
    caption = plain(record.caption)
    seen: set[str] = set()
    for negative in record.negatives:
        text = plain(negative.caption)
        if text == caption:
            yield "equal", negative.caption
        elif is_true(text):
            yield "true_elsewhere", negative.caption
        if text in seen:
            yield "repeated", negative.caption
        seen.add(text)
        if negative.kind == "category" and negative.category == record.category != "":
            yield "own_category", negative.caption
        if negative.kind == "category" and not negative.category:
            yield "unknown_category", negative.caption
        if wrong_articles(negative.caption):
            yield "wrong_article", negative.caption


def wrong_articles(caption: str) -> list[str]:
    """Return the articles that do not fit the word after them, with that word.

    >>> wrong_articles("This is a azalea, an hour old; a euphonium.")
    ['a azalea']
    """
    return [
        found.group()
        for found in _ARTICLE.finditer(caption)
        if found[1].lower() != article(found[2])
        and not found[2][:2].isupper()  # "an SUV", "a NATO flag": may be spelled out or spoken
        and not (found[1] == "A" and caption[: found.start()].rstrip()[-1:].isalnum())
    ]
