"""From a model's answer to a caption: unwrap it, name the category, cut it at the end of a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable

from fdrd.text.grammar import article
from fdrd.text.mentions import category_pattern, is_mentioned, spoken
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
_SHOWS = re.compile(
    r"(?:(?<![^\s])(?<!\w )(?<!, )(?:The|This) (?:[a-z]+ )?(?:image|picture|photo|photograph) (?:also )?"
    r"(?:features|shows|captures|depicts|displays|presents|showcases|portrays|illustrates|contains|includes|reveals) "
    r"|(?<![^\s])(?:In|Within) (?:the|this) (?:image|picture|photo|photograph), )"
    r"(?!that\b|how\b|what\b|where\b|why\b)(?=\w)(\w)"
)
_PLACEHOLDER = re.compile(r"\{(an? )?(\w+)\}")
_END = re.compile(r"[.!?…。！？][\"'”’)\]]*(?=\s|$)|[。！？]")
_NEVER_LAST = frozenset("a an the of and or with its their is are was were which".split())
# A period after one of these, or after a single letter, does not end a sentence.
_ABBREVIATIONS = frozenset(
    "st mt mr mrs ms dr prof no vs etc e.g i.e approx fig ft jr sr inc co".split()
)


def unwrap(text: str) -> str:
    """Remove reasoning, greetings, labels, markup and quotation marks around a caption.

    >>> unwrap('Sure! Here is a caption: **"A pug on a sofa."**')
    'A pug on a sofa.'
    """
    plain = _MARKS.sub("", _THOUGHT.sub("", text)).strip()
    plain = _PREAMBLE.sub("", plain).strip()
    closing = _QUOTES.get(plain[:1])
    if closing and plain.endswith(closing) and plain.find(closing, 1) == len(plain) - 1:
        plain = plain[1:-1]
    return " ".join(plain.split())


def describe_directly(text: str) -> str:
    """Rewrite sentences like "The image shows a wren" to begin with what is shown.

    >>> describe_directly("The image features a wren. In this photo, it sits. The image shows that it sings.")
    'A wren. It sits. The image shows that it sings.'
    """
    return _SHOWS.sub(lambda found: str(found[1]).upper(), text)


def sentences(text: str) -> list[str]:
    """Split a text into sentences. The last one may be incomplete.

    >>> sentences("A St. Bernard lies. It sleeps! On sno")
    ['A St. Bernard lies.', 'It sleeps!', 'On sno']
    """
    parts, start = [], 0
    for found in _END.finditer(text):
        word = text[start : found.start()].rsplit(None, 1)[-1:] or [""]
        bare = word[0].strip("(\"'“‘").lower()
        if found.group()[0] == "." and (
            bare in _ABBREVIATIONS or re.fullmatch(r"[a-z]|(?:[a-z]\.)+[a-z]", bare)
        ):
            continue
        parts.append(text[start : found.end()].strip())
        start = found.end()
    rest = text[start:].strip()
    return [part for part in [*parts, rest] if part]


def ends(text: str) -> bool:
    """Return whether the text ends at the end of a sentence."""
    found = list(_END.finditer(text))
    return bool(found) and found[-1].end() == len(text.rstrip())


def breaks_off(text: str) -> bool:
    """Return whether the text ends in the middle of a sentence. A missing final period alone does not count.

    >>> breaks_off("A wren on a"), breaks_off("A wren on a post,"), breaks_off("A wren on a post")
    (True, True, False)
    """
    if ends(text):
        return False
    words = re.findall(r"[\w'’]+", text.casefold())
    return bool(re.search(r"[,;:(–—-]\s*\Z", text)) or (bool(words) and words[-1] in _NEVER_LAST)


def fit(text: str, max_tokens: int, count: Callable[[str], int]) -> str:
    """Return the first sentences that fit into `max_tokens`, but at least one.

    >>> fit("A pug. It sleeps on a red sofa.", 5, lambda text: len(text.split()))
    'A pug.'
    """
    kept = ""
    for sentence in sentences(text):
        longer = f"{kept} {sentence}".strip()
        if kept and count(longer) > max_tokens:
            break
        kept = longer
    return kept


def fill(template: str, values: dict[str, str]) -> str:
    """Fill in a template. `{a name}` puts the right article before the value.

    >>> fill("This is {a category} with {tone} petals.", {"category": "azalea", "tone": "pink"})
    'This is an azalea with pink petals.'

    Raises:
        KeyError: A value is missing.
    """

    def value(found: re.Match[str]) -> str:
        text = spoken(values[found[2]])
        return f"{article(text)} {text}" if found[1] else text

    filled = _PLACEHOLDER.sub(value, template)
    return filled[:1].upper() + filled[1:]


def make_caption(
    answer: str,
    category: str,
    cut: bool,
    opening: str,
    max_tokens: int,
    count: Callable[[str], int],
) -> str:
    """Turn an answer into a caption, normalized as in a build. Return "" if nothing is left.

    `cut` says that the answer ended at the token limit, so its last sentence may be incomplete. `opening` is a template
    that precedes a caption without its category; it may be empty.
    """
    text = describe_directly(unwrap(answer))
    if cut and not ends(text):
        text = " ".join(sentences(text)[:-1]) or text
    if text and opening and not is_mentioned(text, category_pattern(category)):
        text = f"{fill(opening, {'category': category})} {text}"
    return fit(normalize_described(text, category)[0], max_tokens, count)
