"""What is asked about a picture: for a draft, for another one with what was wrong, and for a verdict.

`{dataset}` and `{category}` stand for the names. The paper shows two templates (arXiv 2508.04028, figure 3); these ask
the same in words of our own, and for what the noise filters look at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fdrd.captioning.captioner import Question
from fdrd.captioning.pictures import Picture
from fdrd.errors import FdrdError
from fdrd.text.mentions import spoken

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
"""One of them is asked about each picture, by its digest."""

_AGAIN = "\n\nAn earlier caption was: {draft}\nWhat is wrong with it: {wrong}\nWrite a better caption in the same form."
_EVALUATE = """A caption is to be checked against this picture of {category} (collection {dataset}). The caption:

{draft}

Answer with one JSON object and nothing else, with these four members:
"names_category": true if the caption calls the subject {category}, else false;
"contradictions": a list of the words of the caption that contradict the picture, empty if there are none;
"inventions": a list of the words of the caption that the picture does not show, quoted text and names above all,
empty if there are none;
"advice": one sentence that says what to put right, empty if nothing."""


def draft_question(
    picture: Picture, questions: Sequence[str], draft: str = "", wrong: Sequence[str] = ()
) -> Question:
    """The question for a caption; with an earlier draft and what was wrong with it, for a better one."""
    text = _fill(questions[int(picture.sha256[:8], 16) % len(questions)], picture)
    if wrong:
        text += _fill(_AGAIN, picture, draft=draft, wrong=" ".join(wrong))
    return Question(picture, text)


def evaluation_question(picture: Picture, draft: str) -> Question:
    """The question for a verdict on a draft."""
    return Question(picture, _fill(_EVALUATE, picture, draft=draft))


def read_questions(file: Path) -> tuple[str, ...]:
    """Questions of the user's own: a text file, with an empty line between two of them.

    Raises:
        FdrdError: it cannot be read, holds none, or one has a placeholder that is not known.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FdrdError(f"--questions {file}: {error}") from error
    found = tuple(part.strip() for part in re.split(r"\n\s*\n", text) if part.strip())
    if not found:
        raise FdrdError(
            f"--questions {file}: no question in it; write one, with {{category}} in it"
        )
    for question in found:
        for name in re.findall(r"\{(\w*)\}", question):
            if name not in ("category", "dataset"):
                raise FdrdError(
                    f"--questions {file}: {{{name}}} is not known; known are {{category}} and {{dataset}}"
                )
    return found


def _fill(template: str, picture: Picture, **further: str) -> str:
    """The template with the names in it, in one pass: a name that holds braces stays as it is."""
    names = {
        "category": spoken(picture.record.category),
        "dataset": spoken(picture.record.domain),
        **further,
    }
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), template)
