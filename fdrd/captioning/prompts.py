"""Prompts for drafts, revisions and evaluations, and the parser of an evaluator's verdict.

`{dataset}` and `{category}` are replaced by names. The prompts follow figure 3 of arXiv 2508.04028 in other words.
Their exact text is part of the key of cached answers: changing a prompt makes users pay for its answers again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdrd.captioning.interface import Question
from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.errors import FdrdError
from fdrd.text.mentions import spoken

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

    Raises:
        FdrdError: The file is unreadable or empty, or a placeholder is unknown.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FdrdError(f"--questions {file}: {error}") from error
    questions = tuple(part.strip() for part in re.split(r"\n\s*\n", text) if part.strip())
    if not questions:
        raise FdrdError(f"--questions {file}: empty; write a question with {{category}}")
    unknown = set(re.findall(r"\{(\w*)\}", text)) - {"category", "dataset"}
    if unknown:
        raise FdrdError(
            f"--questions {file}: unknown placeholder {{{min(unknown)}}}; use {{category}} or {{dataset}}"
        )
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
    names = {
        "category": spoken(image.record.category),
        "dataset": spoken(image.record.domain),
        **values,
    }
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), template)
