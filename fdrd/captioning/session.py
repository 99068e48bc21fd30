"""A captioning session: who answers questions in this process, and what has been asked, cached and spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fdrd.captioning.answer_cache import AnswerCache, question_key
from fdrd.captioning.interface import Answer, Captioner, Failure, Question
from fdrd.captioning.spending import Spending
from fdrd.captioning.uncaptioned import UncaptionedImage

Score = Callable[[Sequence[UncaptionedImage], Sequence[str]], list[float]]
"""Returns the cosine of each image with its caption under a backbone."""

Report = Callable[[int], None]
"""Called with the number of questions done."""


@dataclass
class CaptioningSession:
    """Captioner, evaluator and scorer, with their cache, budget and counts.

    Attributes:
        cached: Number of answers from the cache.
        answered: Number of new answers of models and servers.
        stopped: Why no more questions are asked, or empty.
    """

    captioner: Captioner
    cache: AnswerCache
    evaluator: Captioner | None = None
    score: Score | None = None
    spending: Spending = field(default_factory=Spending)
    cached: int = 0
    answered: int = 0
    stopped: str = ""

    def usage(self) -> dict[str, Any]:
        """Return what the session has asked and spent, as JSON."""
        return {
            "cached": self.cached,
            "answered": self.answered,
            "input_tokens": self.spending.input_tokens,
            "output_tokens": self.spending.output_tokens,
            "spent": self.spending.spent,
        }

    def ask(
        self,
        captioner: Captioner,
        questions: Sequence[Question],
        report: Report = lambda done: None,
    ) -> list[Answer | Failure]:
        """Return the answer of captioner or evaluator to each question. Cached answers are not asked again."""
        identity = captioner.identity

        def key_of(question: Question) -> str:
            if captioner.free:  # a look-up may depend on the name of an image
                return question.image.record.id
            return question_key(identity, question)

        keys = [key_of(question) for question in questions]
        waiting = dict(zip(keys, questions, strict=True))  # equal questions are asked once
        answers: dict[str, Answer | Failure] = {}
        if not captioner.free:
            for key in list(waiting):
                if (known := self.cache.get(key)) is not None:
                    answers[key] = known
                    del waiting[key]
        cached = len(answers)

        def keep(question: Question, answer: Answer | Failure) -> None:
            key = key_of(question)
            if isinstance(answer, Answer) and not captioner.free:
                self.cache.put(key, answer, str(identity.get("model", "")))
            answers[key] = answer
            report(len(answers))

        report(cached)
        if waiting and not self.stopped:
            self.stopped = captioner.answer(iter(waiting.values()), keep)
        self.cached += cached
        if not captioner.free:
            self.answered += sum(isinstance(answers.get(key), Answer) for key in waiting)
        return [answers.get(key, Failure(self.stopped or "no_answer")) for key in keys]
