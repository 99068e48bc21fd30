"""Flaws of captions and negatives that can be told from the text alone; each a stated heuristic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fdrd.negatives.given import plain
from fdrd.record import Negative, Record
from fdrd.text.grammar import article
from fdrd.text.mentions import category_pattern, find_mentions

CLIP_TOKENS = 77
"""Tokens of a text that CLIP reads, begin and end included."""

FLAWS: dict[str, str] = {
    "category_not_named": "the caption does not name its category (any case, plural, `_` or `-` for a space)",
    "too_long": f"more than {CLIP_TOKENS} CLIP tokens by the estimate of `clip_tokens`",
    "wrong_article": '"a" before a word that takes "an", or the other way round',
    "glued_sentences": "no space after the full stop between two sentences",
    "doubled_word": 'the same word twice in a row ("the the")',
    "no_full_stop": "the last sentence does not end",
    "underscore": "an underscore inside",
}

NEGATIVE_FLAWS: dict[str, str] = {
    "equal": "equals the row's caption, but for case and white space",
    "repeated": "equals an earlier negative of the row",
    "true_elsewhere": "equals the caption of another row",
    "own_category": "a category swap to the row's own category",
    "unknown_category": "names no category that the domain has",
    "wrong_article": FLAWS["wrong_article"],
}

# CLIP's own pattern of what is encoded by itself (openai/CLIP simple_tokenizer.py).
_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)
_LETTERS_PER_TOKEN = 9
_ARTICLE = re.compile(r"(?<![^\W_])([Aa]n?) ([^\W\d_][\w'’-]*)")
_GLUED = re.compile(r"[a-z0-9)][.!?][A-Z][a-z]")
_DOUBLED = re.compile(r"(?<![^\W_])([^\W\d_]{2,}) \1(?![^\W_])", re.IGNORECASE)
_ENDS = re.compile(r"[.!?…。！？][\"'”’)]?$")


def clip_tokens(caption: str) -> int:
    """About how many tokens CLIP makes of a caption, begin and end included.

    Without CLIP's vocabulary: a piece of its pattern is one token per nine letters begun. On the released
    captions the mean is at most 1.2 tokens below the true one, the 99th percentile at most 2.

    >>> clip_tokens("A photo of a cat.")
    8
    """
    return 2 + sum(-(-len(piece) // _LETTERS_PER_TOKEN) for piece in _PIECE.findall(caption))


def caption_flaws(caption: str, category: str) -> Iterator[str]:
    """The keys of `FLAWS` that apply.

    >>> list(caption_flaws("This is a azalea.The the flower", "rose"))
    ['category_not_named', 'wrong_article', 'glued_sentences', 'doubled_word', 'no_full_stop']
    """
    if not find_mentions(caption, category_pattern(category)):
        yield "category_not_named"
    if clip_tokens(caption) > CLIP_TOKENS:
        yield "too_long"
    if wrong_articles(caption):
        yield "wrong_article"
    if _GLUED.search(caption):
        yield "glued_sentences"
    if _DOUBLED.search(caption):
        yield "doubled_word"
    if not _ENDS.search(caption.strip()):
        yield "no_full_stop"
    if re.search(r"\w_+\w", caption):
        yield "underscore"


def negative_flaws(
    record: Record, is_true: Callable[[str], bool]
) -> Iterator[tuple[Negative, str]]:
    """Each negative of a record with each key of `NEGATIVE_FLAWS` that applies to it.

    Args:
        record: with its negatives.
        is_true: whether a text, in the form of `fdrd.negatives.given.plain`, is the caption of some row.
    """
    own = plain(record.caption)
    seen: set[str] = set()
    for negative in record.negatives:
        text = plain(negative.caption)
        if text == own:
            yield negative, "equal"
        elif is_true(text):
            yield negative, "true_elsewhere"
        if text in seen:
            yield negative, "repeated"
        seen.add(text)
        if negative.kind == "category" and negative.category == record.category:
            yield negative, "own_category"
        if negative.kind == "category" and not negative.category:
            yield negative, "unknown_category"
        if wrong_articles(negative.caption):
            yield negative, "wrong_article"


def wrong_articles(caption: str) -> list[str]:
    """The articles of a caption that do not fit the word after them, with that word.

    >>> wrong_articles("This is a azalea, an hour old; a euphonium.")
    ['a azalea']
    """
    return [
        found.group()
        for found in _ARTICLE.finditer(caption)
        if found[1].lower() != article(found[2])
        and not found[2][:2].isupper()  # "an SUV", "a NATO flag": spelt or spoken, who knows
        and not (found[1] == "A" and caption[: found.start()].rstrip()[-1:].isalnum())
    ]
