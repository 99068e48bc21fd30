"""Draft, evaluate, feed back, filter: what becomes of each picture (figure 3 of arXiv 2508.04028).

A draft that a noise filter rejects is not evaluated: the filter's reason goes back to the captioner for nothing. What
the evaluator finds goes back in the same way. What has no good draft after the last round is rejected with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fdrd.captioning.asking import Tally, ask
from fdrd.captioning.cache import AnswerCache
from fdrd.captioning.captioner import Answer, Captioner, Failure, Question
from fdrd.captioning.noise import FILTERS, Draft, noise
from fdrd.captioning.pictures import Picture
from fdrd.captioning.questions import QUESTIONS, draft_question, evaluation_question
from fdrd.captioning.reasons import VERDICTS
from fdrd.captioning.verdict import Verdict, read_verdict
from fdrd.captioning.wording import make_caption
from fdrd.text.tokens import CLIP_LIMIT, estimate_clip_tokens

SHORT_OF_THE_TRUTH = 3
"""Tokens that are left free where they are estimated only: the estimate is at most 2 too low for 99 % of captions."""

PORTION = 256
"""Pictures that go through all rounds together; what is done is done for good after each portion."""

Score = Callable[[Sequence[Picture], Sequence[str]], list[float]]
"""Cosines of pictures and their captions, pair by pair, under a backbone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run makes captions.

    Attributes:
        rounds: drafts for a picture at most.
        questions: templates, one of which is asked about each picture.
        opening: put before a caption that does not name its category; empty: nothing is.
        without: filters that are left out.
        least_score: of picture and caption under the backbone.
        tokenizer: what counts tokens, in words.
        most_tokens: of a caption.
        count: counts the tokens of a caption.
    """

    rounds: int = 3
    questions: tuple[str, ...] = QUESTIONS
    opening: str = ""
    without: frozenset[str] = frozenset()
    least_score: float | None = None
    tokenizer: str = "estimate"
    most_tokens: int = CLIP_LIMIT - SHORT_OF_THE_TRUTH
    count: Callable[[str], int] = field(default=estimate_clip_tokens, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a picture.

    Attributes:
        picture: the picture.
        caption: the last draft, empty if there was none.
        reason: why it is rejected, or empty: a filter's name, a key of `FAILURES` or of `VERDICTS`.
        detail: what was said about it.
        problems: of each round, in order; the last is empty for a caption that is kept.
        question: digest of the last question.
        score: of picture and caption under the backbone, if one was asked.
    """

    picture: Picture
    caption: str = ""
    reason: str = ""
    detail: str = ""
    problems: tuple[tuple[str, ...], ...] = ()
    question: str = ""
    score: float | None = None


@dataclass
class Desk:
    """Whom a run asks, and the account of it."""

    captioner: Captioner
    evaluator: Captioner | None
    score: Score | None
    cache: AnswerCache
    drafts: Tally = field(default_factory=Tally)
    evaluations: Tally = field(default_factory=Tally)

    @property
    def stopped(self) -> str:
        """Why no further question is asked, or empty."""
        return self.drafts.stopped or self.evaluations.stopped


def make_captions(
    pictures: Sequence[Picture],
    categories: Mapping[str, tuple[str, ...]],
    plan: Plan,
    desk: Desk,
    told: Callable[[str, int], None] = lambda stage, done: None,
) -> Iterator[Outcome]:
    """What becomes of each picture, portion by portion, until the captioner takes no further question.

    Args:
        pictures: to be captioned.
        categories: of each domain.
        plan: how.
        desk: who is asked.
        told: called with the stage and about how many pictures are done.
    """
    for start in range(0, len(pictures), PORTION):
        if desk.stopped:
            return
        portion = _Portion(pictures[start : start + PORTION], start, categories, plan, desk, told)
        yield from portion.outcomes()


@dataclass
class _Portion:
    pictures: Sequence[Picture]
    start: int
    categories: Mapping[str, tuple[str, ...]]
    plan: Plan
    desk: Desk
    told: Callable[[str, int], None]

    def outcomes(self) -> Iterator[Outcome]:
        found = {place: Outcome(picture) for place, picture in enumerate(self.pictures)}
        advice: dict[int, tuple[str, ...]] = dict.fromkeys(found, ())
        rounds = self.plan.rounds if self.desk.captioner.converses else 1
        todo = list(found)
        for number in range(rounds):
            self._draft(number, rounds, todo, found, advice)
            good = [place for place in todo if found[place].caption and not found[place].reason]
            if self.desk.evaluator:
                self._evaluate(number, rounds, good, found, advice)
            if self.desk.stopped:
                last = number + 1 == rounds
                unfinished = {place for place in todo if not self._is_final(found[place], last)}
                found = {place: found[place] for place in found if place not in unfinished}
                break
            todo = [place for place in todo if found[place].reason and found[place].caption]
            if not todo:
                break
        self._score(found)
        yield from found.values()

    def _is_final(self, outcome: Outcome, last: bool) -> bool:
        """Whether nothing more would have been asked, had the run not been stopped in this round."""
        if outcome.reason == self.desk.stopped:
            return False
        return last or not outcome.reason or not outcome.caption

    def _draft(
        self, number: int, rounds: int, todo: list[int], found: dict[int, Outcome],
        advice: dict[int, tuple[str, ...]],
    ) -> None:  # fmt: skip
        questions = [
            draft_question(
                self.pictures[place], self.plan.questions, found[place].caption, advice[place]
            )
            for place in todo
        ]
        told = self._told(f"draft {number + 1}", 2 * number, 2 * rounds, len(todo))
        answers = ask(self.desk.captioner, questions, self.desk.cache, self.desk.drafts, told)
        for place, question, answer in zip(todo, questions, answers, strict=True):
            found[place], advice[place] = self._judged(found[place], question, answer)

    def _judged(
        self, before: Outcome, question: Question, answer: Answer | Failure
    ) -> tuple[Outcome, tuple[str, ...]]:
        """The outcome with a new draft, and what the filters say against it."""
        digest = hashlib.sha256(question.text.encode()).hexdigest()[:16]
        after = replace(before, question=digest, detail="", reason="")
        if isinstance(answer, Failure):
            problems = (*before.problems, (answer.reason,))
            return replace(
                after, caption="", reason=answer.reason, detail=answer.detail, problems=problems
            ), ()
        record = before.picture.record
        caption = make_caption(
            answer.text, record.category, cut=answer.cut, opening=self.plan.opening,
            most=self.plan.most_tokens, count=self.plan.count,
        )  # fmt: skip
        draft = Draft(
            caption,
            record.category,
            self.categories[record.domain],
            self.plan.count(caption),
            self.plan.most_tokens,
            answer.cut,
        )
        reason = noise(draft, self.plan.without) if caption else "empty_answer"
        advice = (FILTERS[reason][0],) if reason in FILTERS else ()
        problems = (*before.problems, (reason,) if reason else ())
        return replace(after, caption=caption, reason=reason, problems=problems), advice

    def _evaluate(
        self, number: int, rounds: int, good: list[int], found: dict[int, Outcome],
        advice: dict[int, tuple[str, ...]],
    ) -> None:  # fmt: skip
        assert self.desk.evaluator is not None
        if self.desk.stopped:
            for place in good:  # a draft that was not evaluated is no caption
                found[place] = replace(found[place], reason=self.desk.stopped)
            return
        questions = [
            evaluation_question(self.pictures[place], found[place].caption) for place in good
        ]
        told = self._told(f"evaluation {number + 1}", 2 * number + 1, 2 * rounds, len(good))
        answers = ask(self.desk.evaluator, questions, self.desk.cache, self.desk.evaluations, told)
        for place, answer in zip(good, answers, strict=True):
            if isinstance(answer, Failure):
                unasked = bool(self.desk.stopped) and answer.reason == self.desk.stopped
                reason = answer.reason if unasked else "evaluation_failed"
                verdict = Verdict((reason,), f"{answer.reason}: {answer.detail}")
            else:
                verdict = read_verdict(answer.text)
            kept = tuple(one for one in verdict.problems if one not in self.plan.without)
            if kept:
                outcome = found[place]
                problems = (*outcome.problems[:-1], kept)
                found[place] = replace(
                    outcome, reason=kept[0], detail=verdict.advice, problems=problems
                )
                said = [VERDICTS[one] for one in kept if one in VERDICTS]
                advice[place] = (verdict.advice,) if verdict.advice else tuple(said)

    def _score(self, found: dict[int, Outcome]) -> None:
        good = [place for place in found if found[place].caption and not found[place].reason]
        if not self.desk.score or not good:
            return
        scores = self.desk.score(
            [self.pictures[place] for place in good], [found[place].caption for place in good]
        )
        for place, score in zip(good, scores, strict=True):
            outcome = replace(found[place], score=score)
            record = outcome.picture.record
            draft = Draft(
                outcome.caption, record.category, score=score, least_score=self.plan.least_score
            )
            if "clip_score" not in self.plan.without and FILTERS["clip_score"][1](draft):
                problems = (*outcome.problems[:-1], ("clip_score",))
                detail = f"{score:.4f}, the limit is {self.plan.least_score}"
                outcome = replace(outcome, reason="clip_score", detail=detail, problems=problems)
            found[place] = outcome

    def _told(self, stage: str, step: int, steps: int, asked: int) -> Callable[[int], None]:
        """Tells how many pictures are about done, when so many of the questions of a step are."""
        if not self.desk.evaluator:
            step, steps = step // 2, steps // 2

        def told(done: int) -> None:
            share = (step + done / max(1, asked)) / steps
            self.told(
                f"{stage}: {done:,} of {asked:,}", self.start + int(share * len(self.pictures))
            )

        return told
