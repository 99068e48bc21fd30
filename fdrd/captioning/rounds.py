"""Rounds of captioning: draft, filter, evaluate, give feedback (figure 3 of arXiv 2508.04028).

A draft that a noise filter rejects is not evaluated: the feedback of a filter costs nothing. An image without a good
draft after the last round is rejected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fdrd.captioning.answer_cache import CaptioningSession
from fdrd.captioning.interface import Answer, Failure
from fdrd.captioning.noise import FILTERS, Draft, first_problem
from fdrd.captioning.prompts import (
    QUESTIONS,
    VERDICTS,
    Verdict,
    draft_question,
    evaluation_question,
    read_verdict,
)
from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.captioning.wording import fill, make_caption
from fdrd.errors import FdrdError
from fdrd.options import unknown
from fdrd.text.tokens import CLIP_LIMIT, ESTIMATE, TokenCounter

BATCH = 256
"""Images that go through all rounds together."""

Show = Callable[[str, int, int], None]
"""Called with the name of a step, and with the numbers of answered and of all questions."""

_MARGIN = 3  # tokens; the estimate is at most 2 too low for 99 % of captions

DEFAULT_TOKENS = replace(ESTIMATE, limit=CLIP_LIMIT - _MARGIN)
"""The counter of tokens if no backbone is named."""


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """Settings of a captioning run.

    Attributes:
        rounds: Maximum number of drafts per image.
        questions: Prompts with `{category}` and `{dataset}`; each image gets one of them.
        opening: Template that precedes a caption without its category; may be empty.
        without: Filters and verdicts to ignore.
        min_clip_score: Minimum cosine of image and caption under the backbone.
        tokens: Counts tokens and has the maximum length of a caption.
        sample: Number of images to caption, always the same ones; None for all.
        max_pixels: Images with more pixels are rejected.

    Raises:
        FdrdError: A filter name or a placeholder of `opening` is unknown.
    """

    rounds: int = 3
    questions: tuple[str, ...] = QUESTIONS
    opening: str = ""
    without: frozenset[str] = frozenset()
    min_clip_score: float | None = None
    tokens: TokenCounter = DEFAULT_TOKENS
    sample: int | None = None
    max_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise FdrdError(f"rounds must be at least 1, got {self.rounds}")
        for name in self.without:
            if name not in FILTERS and name not in VERDICTS:
                raise FdrdError(unknown("filter", name, [*FILTERS, *VERDICTS], "fdrd"))
        try:
            fill(self.opening, {"category": "wren"})
        except KeyError as error:
            raise FdrdError(
                f"--opening: unknown placeholder {{{error.args[0]}}}; use {{a category}}"
            ) from error


@dataclass(eq=False)
class ImageState:
    """The state of one image: its latest draft, and why it is rejected.

    `reason` is the name of a filter, or a key of `FAILURES` or `VERDICTS`, and empty for a good draft. `problems` are
    those of each round, `question` is the digest of the latest one, and `feedback` is for the next round.
    """

    image: UncaptionedImage
    caption: str = ""
    reason: str = ""
    detail: str = ""
    problems: list[tuple[str, ...]] = field(default_factory=list)
    question: str = ""
    score: float | None = None
    feedback: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """True if the draft has not been rejected."""
        return bool(self.caption) and not self.reason

    def reject(
        self, problems: tuple[str, ...], detail: str, feedback: tuple[str, ...] = ()
    ) -> None:
        """Reject the draft of the current round."""
        self.reason, self.detail, self.feedback = problems[0], detail, feedback
        self.problems[-1] = problems


def caption_images(
    images: Sequence[UncaptionedImage],
    categories: Mapping[str, tuple[str, ...]],
    settings: CaptionSettings,
    session: CaptioningSession,
    report: Callable[[str, int], None] = lambda stage, done: None,
) -> Iterator[ImageState]:
    """Yield the final state of each image, until the session stops. Unfinished images are left out.

    `categories` are those of each domain. `report` gets the name of the stage, and how many images are done.
    """
    for start in range(0, len(images), BATCH):
        if session.stopped:
            return
        states = [ImageState(image) for image in images[start : start + BATCH]]

        def show(text: str, share: float, start: int = start, count: int = len(states)) -> None:
            report(text, start + int(share * count))

        finished = _finished(states, categories, settings, session, show)
        _score([state for state in finished if state.is_good], settings, session)
        yield from finished


def _finished(
    states: list[ImageState],
    categories: Mapping[str, tuple[str, ...]],
    settings: CaptionSettings,
    session: CaptioningSession,
    show: Callable[[str, float], None],
) -> list[ImageState]:
    """Return the images that went through all rounds that they need; `show` gets the share of the work that is done."""
    rounds = settings.rounds if session.captioner.converses else 1
    steps = 2 if session.evaluator else 1
    active = states
    for round_ in range(1, rounds + 1):

        def show_step(step: str, done: int, asked: int, round_: int = round_) -> None:
            index = steps * (round_ - 1) + (step == "evaluation")
            share = (index + done / max(1, asked)) / (steps * rounds)
            show(f"{step} {round_}: {done:,} of {asked:,}", share)

        _draft(active, categories, settings, session, show_step)
        _evaluate([state for state in active if state.is_good], settings, session, show_step)
        again = [state for state in active if state.caption and state.reason]
        if session.stopped:
            unfinished = [state for state in active if state.reason == session.stopped]
            unfinished += again if round_ < rounds else []
            return [state for state in states if state not in unfinished]
        if not again:
            break
        active = again
    return states


def _draft(
    states: Sequence[ImageState],
    categories: Mapping[str, tuple[str, ...]],
    settings: CaptionSettings,
    session: CaptioningSession,
    show: Show,
) -> None:
    """Ask for a draft of each image, and filter it."""
    questions = [
        draft_question(state.image, settings.questions, state.caption, state.feedback)
        for state in states
    ]
    answers = session.ask(
        session.captioner, questions, lambda done: show("draft", done, len(states))
    )
    for state, question, answer in zip(states, questions, answers, strict=True):
        state.question = hashlib.sha256(question.text.encode()).hexdigest()[:16]
        state.caption, state.reason, state.detail, state.feedback = "", "", "", ()
        state.problems.append(())
        if isinstance(answer, Failure):
            state.reject((answer.reason,), answer.detail)
        else:
            _take_draft(state, answer, categories, settings)


def _take_draft(
    state: ImageState,
    answer: Answer,
    categories: Mapping[str, tuple[str, ...]],
    settings: CaptionSettings,
) -> None:
    record, tokens = state.image.record, settings.tokens

    def count(text: str) -> int:
        return tokens.count([text])[0]

    state.caption = make_caption(
        answer.text, record.category, answer.cut, settings.opening, tokens.limit, count
    )
    if not state.caption:
        state.reject(("empty_answer",), "")
        return
    draft = Draft(
        state.caption,
        record.category,
        categories[record.domain],
        tokens=count(state.caption),
        max_tokens=tokens.limit,
        cut=answer.cut,
    )
    if problem := first_problem(draft, settings.without):
        state.reject((problem,), "", (FILTERS[problem][0],))


def _evaluate(
    states: Sequence[ImageState], settings: CaptionSettings, session: CaptioningSession, show: Show
) -> None:
    """Reject the drafts that the evaluator finds wrong."""
    if not session.evaluator:
        return
    questions = [evaluation_question(state.image, state.caption) for state in states]
    answers = session.ask(
        session.evaluator, questions, lambda done: show("evaluation", done, len(states))
    )
    for state, answer in zip(states, answers, strict=True):
        if isinstance(answer, Answer):
            verdict = read_verdict(answer.text)
        elif answer.reason == session.stopped:  # a draft without a verdict is unfinished
            state.reject((answer.reason,), "")
            continue
        else:
            verdict = Verdict(("evaluation_failed",), f"{answer.reason}: {answer.detail}")
        problems = tuple(each for each in verdict.problems if each not in settings.without)
        if problems:
            sentences = [verdict.advice] if verdict.advice else map(VERDICTS.get, problems)
            state.reject(problems, verdict.advice, tuple(filter(None, sentences)))


def _score(
    states: Sequence[ImageState], settings: CaptionSettings, session: CaptioningSession
) -> None:
    if not session.score or not states:
        return
    limit = None if "clip_score" in settings.without else settings.min_clip_score
    scores = session.score([state.image for state in states], [state.caption for state in states])
    for state, score in zip(states, scores, strict=True):
        state.score = score
        if limit is not None and score < limit:
            state.reject(("clip_score",), f"{score:.4f}, the limit is {limit}")
