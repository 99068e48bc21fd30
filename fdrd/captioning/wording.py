"""From what a model said to a caption: wrapping taken off, the category named, cut at the end of a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable

from fdrd.text.grammar import article
from fdrd.text.mentions import category_pattern, find_mentions, spoken
from fdrd.text.normalize import normalize_described

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_PREAMBLE = re.compile(
    r"\A(?:(?:sure|certainly|of course|okay|ok|absolutely)\b[^\n:]*[:!.]\s*)?"
    r"(?:here(?:'s| is| are)[^\n:]{0,80}:\s*)?"
    r"(?:(?:caption|description|answer|image description)\s*:\s*)?",
    re.IGNORECASE,
)
_MARKS = re.compile(r"\*\*|__|`+|^#+\s+|^[-*•]\s+", re.MULTILINE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}
_SHELL = re.compile(
    r"(?:(?<![^\s])(?<!\w )(?<!, )(?:The|This) (?:[a-z]+ )?(?:image|picture|photo|photograph) (?:also )?"
    r"(?:features|shows|captures|depicts|displays|presents|showcases|portrays|illustrates|contains|includes|reveals) "
    r"|(?<![^\s])(?:In|Within) (?:the|this) (?:image|picture|photo|photograph), )"
    r"(?!that\b|how\b|what\b|where\b|why\b)(?=\w)(\w)"
)
_PLACE = re.compile(r"\{(an? )?(\w+)\}")
_END = re.compile(r"[.!?…。！？][\"'”’)\]]*(?=\s|$)|[。！？]")
_NEVER_LAST = frozenset("a an the of and or with its their is are was were which".split())
# A full stop after one of these, or after a single capital, ends no sentence.
_SHORT = frozenset("st mt mr mrs ms dr prof no vs etc e.g i.e approx fig ft jr sr inc co".split())


def unwrap(text: str) -> str:
    """An answer without thoughts, greetings, labels, markup and quotation marks around it.

    >>> unwrap('Sure! Here is a caption: **"A pug on a sofa."**')
    'A pug on a sofa.'
    """
    plain = _MARKS.sub("", _THOUGHT.sub("", text)).strip()
    plain = _PREAMBLE.sub("", plain).strip()
    closing = _QUOTES.get(plain[:1])
    if closing and plain.endswith(closing) and plain.find(closing, 1) == len(plain) - 1:
        plain = plain[1:-1]
    return " ".join(plain.split())


def plain_speech(text: str) -> str:
    """The text with sentences that begin "The image shows a wren" begun with what is shown.

    >>> plain_speech("The image features a wren. In this photo, it sits. The image shows that it sings.")
    'A wren. It sits. The image shows that it sings.'
    """
    return _SHELL.sub(lambda found: str(found[1]).upper(), text)


def sentences(text: str) -> list[str]:
    """The sentences of a text; the last may lack its end.

    >>> sentences("A St. Bernard lies. It sleeps! On sno")
    ['A St. Bernard lies.', 'It sleeps!', 'On sno']
    """
    parts, start = [], 0
    for found in _END.finditer(text):
        word = text[start : found.start()].rsplit(None, 1)[-1:] or [""]
        bare = word[0].strip("(\"'“‘").lower()
        if found.group()[0] == "." and (
            bare in _SHORT or re.fullmatch(r"[a-z]|(?:[a-z]\.)+[a-z]", bare)
        ):
            continue
        parts.append(text[start : found.end()].strip())
        start = found.end()
    rest = text[start:].strip()
    return [part for part in [*parts, rest] if part]


def ends(text: str) -> bool:
    """Whether the text ends where a sentence does."""
    found = list(_END.finditer(text))
    return bool(found) and found[-1].end() == len(text.rstrip())


def breaks_off(text: str) -> bool:
    """Whether the text ends with a word or a mark that no sentence ends with. A missing full stop alone is no such.

    >>> breaks_off("A wren on a"), breaks_off("A wren on a post,"), breaks_off("A wren on a post")
    (True, True, False)
    """
    if ends(text):
        return False
    return bool(re.search(r"[,;:(–—-]\s*\Z", text)) or _last_word(text) in _NEVER_LAST


def _last_word(text: str) -> str:
    return str((re.findall(r"[\w'’]+", text.casefold()) or [""])[-1])


def fit(text: str, most: int, count: Callable[[str], int]) -> str:
    """As many whole sentences as have at most `most` tokens, one at least.

    >>> fit("A pug. It sleeps on a red sofa.", 5, lambda text: len(text.split()))
    'A pug.'
    """
    kept = ""
    for sentence in sentences(text):
        longer = f"{kept} {sentence}".strip()
        if kept and count(longer) > most:
            break
        kept = longer
    return kept


def fill(template: str, values: dict[str, str]) -> str:
    """A template with values at `{name}`, and the article that fits at `{a name}`.

    >>> fill("This is {a category} with {colour} petals.", {"category": "azalea", "colour": "pink"})
    'This is an azalea with pink petals.'

    Raises:
        KeyError: there is no such value.
    """

    def value(found: re.Match[str]) -> str:
        text = spoken(values[found[2]])
        return f"{article(text)} {text}" if found[1] else text

    filled = _PLACE.sub(value, template)
    return filled[:1].upper() + filled[1:]


def make_caption(
    answer: str, category: str, *, cut: bool, opening: str, most: int, count: Callable[[str], int]
) -> str:
    """The caption in an answer, in the form that a build gives it; empty if nothing of it is left.

    Args:
        answer: what the model said.
        category: of the picture.
        cut: the answer ended at the limit of its length, so its last sentence is none.
        opening: a template that is put before a caption that does not name its category, or empty.
        most: tokens of a caption.
        count: counts tokens.
    """
    text = plain_speech(unwrap(answer))
    if cut and not ends(text):
        text = " ".join(sentences(text)[:-1]) or text
    if text and opening and not find_mentions(text, category_pattern(category)):
        text = f"{fill(opening, {'category': category})} {text}"
    return fit(normalize_described(text, category)[0], most, count)
