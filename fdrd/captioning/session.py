"""A captioning session: who answers questions in this process, and what has been asked, cached and spent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fdrd.captioning.answer_cache import AnswerCache, question_key
from fdrd.captioning.interface import Answer, Captioner, Failure, Question
from fdrd.captioning.limits import Spending
from fdrd.captioning.uncaptioned import UncaptionedImage

Score = Callable[[Sequence[UncaptionedImage], Sequence[str]], list[float]]
"""Returns the cosine of each image with its caption under a backbone."""

Report = Callable[[int], None]
"""Called with the number of questions done."""

_POLL_SECONDS = 1.0


@dataclass
class Tally:
    """Counts of answers from the cache, answers from the captioner, and failures by reason."""

    cached: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)


@dataclass
class CaptioningSession:
    """Captioner, evaluator and scorer, with their cache, budget and counts.

    `stopped` is the reason why no more questions are asked, or empty.
    """

    captioner: Captioner
    cache: AnswerCache
    evaluator: Captioner | None = None
    score: Score | None = None
    spending: Spending = field(default_factory=Spending)
    drafts: Tally = field(default_factory=Tally)
    evaluations: Tally = field(default_factory=Tally)
    stopped: str = ""

    def ask_captioner(
        self, questions: Sequence[Question], report: Report = lambda done: None
    ) -> list[Answer | Failure]:
        """Return the captioner's answer to each question. Cached answers are not asked again."""
        return self._ask(self.captioner, self.drafts, questions, report)

    def ask_evaluator(
        self, questions: Sequence[Question], report: Report = lambda done: None
    ) -> list[Answer | Failure]:
        """Return the evaluator's answer to each question. Cached answers are not asked again."""
        assert self.evaluator is not None
        return self._ask(self.evaluator, self.evaluations, questions, report)

    def usage(self) -> dict[str, Any]:
        """Return what the session has asked and spent, as JSON."""
        attempts = {
            name: dict(sorted(failed.items()))
            for name, asked in (("captioner", self.captioner), ("evaluator", self.evaluator))
            if (failed := getattr(asked, "attempts_failed", None))
        }
        return {
            "cached": self.drafts.cached + self.evaluations.cached,
            "answered": self.drafts.answered + self.evaluations.answered,
            "attempts_failed": attempts,
            "input_tokens": self.spending.input_tokens,
            "output_tokens": self.spending.output_tokens,
            "spent": self.spending.spent,
        }

    def _ask(
        self, captioner: Captioner, tally: Tally, questions: Sequence[Question], report: Report
    ) -> list[Answer | Failure]:
        identity = captioner.identity

        def key_of(question: Question) -> str:
            if captioner.free:  # a look-up may depend on the name of an image
                return question.image.record.id
            return question_key(identity, question)

        keys = [key_of(question) for question in questions]
        waiting = dict(zip(keys, questions, strict=True))  # equal questions are asked once
        found: dict[str, Answer | Failure] = {}

        def take_cached() -> None:
            for key in list(waiting) if not captioner.free else ():
                if (known := self.cache.get(key)) is not None:
                    found[key] = known
                    del waiting[key]
                    tally.cached += 1

        def claimed() -> Iterator[Question]:
            for key in list(waiting):
                if captioner.free or self.cache.claim(key):
                    yield waiting.pop(key)

        def keep(question: Question, answer: Answer | Failure) -> None:
            key = key_of(question)
            if isinstance(answer, Failure):
                self.cache.unclaim(key)
                tally.failed[answer.reason] += 1
            else:
                if not captioner.free:
                    self.cache.put(key, answer, str(identity.get("model", "")))
                tally.answered += 1
            found[key] = answer
            report(len(found))

        take_cached()
        report(len(found))
        while waiting and not self.stopped:
            self.stopped = captioner.answer(claimed(), keep)
            if waiting and not self.stopped:
                time.sleep(_POLL_SECONDS)  # another run is asking these questions
                take_cached()
            report(len(found))
        return [found.get(key, Failure(self.stopped or "no_answer")) for key in keys]
