"""The words of questions to a model, and the way from its answer to a verdict or a caption.

The prompts follow figure 3 of arXiv 2508.04028 in other words; `{dataset}` and `{category}` stand for names. Their
exact text is part of the key of cached answers: changing a prompt makes users pay for its answers again.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdrd.captioning.interface import Question
from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.errors import FdrdError
from fdrd.text.grammar import article
from fdrd.text.mentions import category_pattern, is_mentioned, spoken
from fdrd.text.normalize import normalize_described

VERDICTS: dict[str, str] = {
    "category_not_named": "the evaluator found that the caption does not name the category",
    "picture_contradicted": "the evaluator found a contradiction between caption and image",
    "detail_invented": "the evaluator found a detail that the image does not show",
    "evaluation_unreadable": "the evaluator gave no verdict that could be read",
    "evaluation_failed": "the evaluator gave no answer",
}
"""Why an evaluator rejects a caption. A verdict without advice sends these words back to the captioner."""

_FORM = (
    " Write one or two plain sentences, of forty words at most, and nothing else. Call the subject by its name, "
    "{category}. Say only what can be seen. Do not speak of the picture itself, do not guess, and do not quote text "
    "that you cannot read."
)
QUESTIONS: tuple[str, ...] = (
    "Look at this picture of {category} and write a caption for it that is rich in detail: the main object, its "
    "colours, shape and parts, what it does, and what is around and behind it." + _FORM,
    "This picture is from the collection {dataset} and shows {category}. Write a caption that tells it from other "
    "pictures of {category}: what is particular about this one, and where it is." + _FORM,
)
"""Prompts for a first draft. The image digest chooses one for each image."""

_REVISE = """

An earlier caption was: {draft}
What is wrong with it: {wrong}
Write a better caption in the same form."""
_EVALUATE = """A caption is to be checked against this picture of {category} (collection {dataset}). The caption:

{draft}

Answer with one JSON object and nothing else, with these four members:
"names_category": true if the caption calls the subject {category}, else false;
"contradictions": a list of the words of the caption that contradict the picture, empty if there are none;
"inventions": a list of the words of the caption that the picture does not show, quoted text and names above all,
empty if there are none;
"advice": one sentence that says what to put right, empty if nothing."""
_MAX_ADVICE = 300  # characters


@dataclass(frozen=True, slots=True)
class Verdict:
    """An evaluator's verdict: keys of `VERDICTS`, and advice for the next draft."""

    problems: tuple[str, ...] = ()
    advice: str = ""


def draft_question(
    image: UncaptionedImage, questions: Sequence[str], draft: str = "", feedback: Sequence[str] = ()
) -> Question:
    """Return the question for a caption, or with feedback, for a better one."""
    text = _fill(questions[int(image.sha256[:8], 16) % len(questions)], image)
    if feedback:
        text += _fill(_REVISE, image, draft=draft, wrong=" ".join(feedback))
    return Question(image, text)


def evaluation_question(image: UncaptionedImage, draft: str) -> Question:
    """Return the question for a verdict on a draft."""
    return Question(image, _fill(_EVALUATE, image, draft=draft))


def read_questions(file: Path) -> tuple[str, ...]:
    """Read custom questions from a text file, separated by blank lines.

    Raise `FdrdError` if the file is unreadable or empty, or a placeholder is unknown.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FdrdError(f"--questions {file}: {error}") from error
    questions = tuple(part.strip() for part in re.split(r"\n\s*\n", text) if part.strip())
    if not questions:
        raise FdrdError(f"--questions {file}: empty; write a question with {{category}}")
    if unknown := set(re.findall(r"\{(\w*)\}", text)) - {"category", "dataset"}:
        flaw, remedy = f"unknown placeholder {{{min(unknown)}}}", "use {category} or {dataset}"
        raise FdrdError(f"--questions {file}: {flaw}; {remedy}")
    return questions


def read_verdict(text: str) -> Verdict:
    """Parse an evaluator's answer. The JSON object may be wrapped in other text.

    >>> read_verdict('Sure: {"names_category": true, "contradictions": ["red"], "inventions": []}').problems
    ('picture_contradicted',)
    >>> read_verdict("It is fine.").problems
    ('evaluation_unreadable',)
    """
    for brace in re.finditer("{", text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        match found:
            case {
                "names_category": bool(named),
                "contradictions": list(contradictions),
                "inventions": list(inventions),
            }:
                problems = {
                    "category_not_named": not named,
                    "picture_contradicted": bool(contradictions),
                    "detail_invented": bool(inventions),
                }
                failed = tuple(problem for problem, applies in problems.items() if applies)
                advice = _advice(found, contradictions, inventions) if failed else ""
                return Verdict(failed, advice)
    return Verdict(("evaluation_unreadable",))


def _advice(found: dict[str, Any], contradictions: list[Any], inventions: list[Any]) -> str:
    """Return the evaluator's advice, or if there is none, what it listed."""
    advice = str(found.get("advice") or "").strip()
    if not advice and contradictions:
        advice = f"The picture contradicts: {'; '.join(map(str, contradictions))}. "
    if not advice and inventions:
        advice = f"Not to be seen: {'; '.join(map(str, inventions))}."
    return " ".join(advice.split())[:_MAX_ADVICE]


def _fill(template: str, image: UncaptionedImage, **values: str) -> str:
    """Fill in the placeholders in one pass, so that braces inside a name are left alone."""
    record = image.record
    values |= {"category": spoken(record.category), "dataset": spoken(record.domain)}
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template)


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
        is_short = bare in _ABBREVIATIONS or re.fullmatch(r"[a-z]|(?:[a-z]\.)+[a-z]", bare)
        if found.group()[0] == "." and is_short:
            continue
        parts.append(text[start : found.end()].strip())
        start = found.end()
    return [part for part in [*parts, text[start:].strip()] if part]


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
