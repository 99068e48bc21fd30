"""Rounds of captioning: draft, filter, evaluate, give feedback (figure 3 of arXiv 2508.04028).

A draft that a noise filter rejects is not evaluated: the feedback of a filter costs nothing. An image without a good
draft after the last round is rejected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fdrd.captioning.interface import Answer, Captioner, Failure, Question
from fdrd.captioning.noise import FILTERS, Draft, first_problem
from fdrd.captioning.prompts import (
    QUESTIONS,
    VERDICTS,
    Verdict,
    draft_question,
    evaluation_question,
    read_verdict,
)
from fdrd.captioning.session import CaptioningSession, Report
from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.captioning.wording import fill, make_caption
from fdrd.errors import FdrdError
from fdrd.options import unknown
from fdrd.text.tokens import CLIP_LIMIT, ESTIMATE, TokenCounter

BATCH = 256
"""Images that go through all rounds together."""

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

    Attributes:
        caption: The latest draft; empty if there is none.
        reason: Name of a filter, or a key of `FAILURES` or `VERDICTS`. Empty for a good draft.
        problems: The problems of each round.
        question: Digest of the latest question.
        score: CLIP score, if there is a backbone.
        feedback: What the next round tells the captioner.
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

    `categories` are those of each domain. `report` gets the name of the stage, and about how many images are done.
    """
    for start in range(0, len(images), BATCH):
        if session.stopped:
            return
        states = [ImageState(image) for image in images[start : start + BATCH]]
        yield from _Batch(states, start, categories, settings, session, report).run()


@dataclass
class _Batch:
    states: list[ImageState]
    start: int
    categories: Mapping[str, tuple[str, ...]]
    settings: CaptionSettings
    session: CaptioningSession
    report: Callable[[str, int], None]

    def run(self) -> list[ImageState]:
        session = self.session
        rounds = self.settings.rounds if session.captioner.converses else 1
        active = finished = self.states
        for round_ in range(rounds):
            self._draft(active, self._progress("draft", round_, rounds, len(active)))
            good = [state for state in active if state.is_good]
            if session.evaluator:
                report = self._progress("evaluation", round_, rounds, len(good))
                self._evaluate(session.evaluator, good, report)
            again = [state for state in active if state.caption and state.reason]
            if session.stopped:
                unfinished = [state for state in active if state.reason == session.stopped]
                unfinished += again if round_ + 1 < rounds else []
                finished = [state for state in self.states if state not in unfinished]
                break
            if not again:
                break
            active = again
        self._score([state for state in finished if state.is_good])
        return finished

    def _draft(self, states: list[ImageState], report: Report) -> None:
        questions = [
            draft_question(state.image, self.settings.questions, state.caption, state.feedback)
            for state in states
        ]
        answers = self.session.ask(self.session.captioner, questions, report)
        for state, question, answer in zip(states, questions, answers, strict=True):
            self._take_draft(state, question, answer)

    def _take_draft(self, state: ImageState, question: Question, answer: Answer | Failure) -> None:
        state.question = hashlib.sha256(question.text.encode()).hexdigest()[:16]
        state.caption, state.reason, state.detail, state.feedback = "", "", "", ()
        state.problems.append(())
        if isinstance(answer, Failure):
            state.reject((answer.reason,), answer.detail)
            return
        record, tokens = state.image.record, self.settings.tokens

        def count(text: str) -> int:
            return tokens.count([text])[0]

        state.caption = make_caption(
            answer.text, record.category, answer.cut, self.settings.opening, tokens.limit, count
        )
        if not state.caption:
            state.reject(("empty_answer",), "")
            return
        draft = Draft(
            state.caption,
            record.category,
            self.categories[record.domain],
            tokens=count(state.caption),
            max_tokens=tokens.limit,
            cut=answer.cut,
        )
        if problem := first_problem(draft, self.settings.without):
            state.reject((problem,), "", (FILTERS[problem][0],))

    def _evaluate(self, evaluator: Captioner, states: list[ImageState], report: Report) -> None:
        questions = [evaluation_question(state.image, state.caption) for state in states]
        answers = self.session.ask(evaluator, questions, report)
        for state, answer in zip(states, answers, strict=True):
            if isinstance(answer, Answer):
                verdict = read_verdict(answer.text)
            elif answer.reason == self.session.stopped:  # a draft without a verdict is unfinished
                state.reject((answer.reason,), "")
                continue
            else:
                verdict = Verdict(("evaluation_failed",), f"{answer.reason}: {answer.detail}")
            without = self.settings.without
            problems = tuple(problem for problem in verdict.problems if problem not in without)
            if problems:
                advice = (
                    (verdict.advice,) if verdict.advice else tuple(VERDICTS[p] for p in problems)
                )
                state.reject(problems, verdict.advice, advice)

    def _score(self, states: list[ImageState]) -> None:
        if not self.session.score or not states:
            return
        limit = None if "clip_score" in self.settings.without else self.settings.min_clip_score
        scores = self.session.score(
            [state.image for state in states], [state.caption for state in states]
        )
        for state, score in zip(states, scores, strict=True):
            state.score = score
            if limit is not None and score < limit:
                state.reject(("clip_score",), f"{score:.4f}, the limit is {limit}")

    def _progress(self, step: str, round_: int, rounds: int, asked: int) -> Report:
        """Return a callback that converts questions done in this step into images done in all."""
        steps = 2 if self.session.evaluator else 1
        index = steps * round_ + (step == "evaluation")

        def report(done: int) -> None:
            share = (index + done / max(1, asked)) / (steps * rounds)
            text = f"{step} {round_ + 1}: {done:,} of {asked:,}"
            self.report(text, self.start + int(share * len(self.states)))

        return report
