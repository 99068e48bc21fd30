"""Questions to a captioner, by way of the cache: what was answered before is not asked again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fdrd.captioning.cache import AnswerCache, question_key
from fdrd.captioning.captioner import Answer, Captioner, Failure, Question

_LOOK_AGAIN_SECONDS = 1.0


@dataclass
class Tally:
    """What was asked in a run: answers from the cache and from the captioner, failures by reason."""

    cached: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    stopped: str = ""
    """Why the captioner takes no further question, or empty."""


def ask(
    captioner: Captioner,
    questions: Sequence[Question],
    cache: AnswerCache,
    tally: Tally,
    told: Callable[[int], None] = lambda done: None,
) -> list[Answer | Failure]:
    """An answer or a failure for each question, in their order; equal questions are asked once.

    Args:
        captioner: whom to ask.
        questions: what to ask.
        cache: where answers are kept, each before it counts.
        tally: what is counted in.
        told: called with how many of the questions are done.
    """
    identity = captioner.identity
    model = str(identity.get("model", ""))
    keys = [question_key(identity, question) for question in questions]
    found: dict[str, Answer | Failure] = {}
    unasked = dict(zip(keys, questions, strict=True))
    key_of = {id(question): key for key, question in unasked.items()}
    if not captioner.free:
        for key in list(unasked):
            if (known := cache.get(key)) is not None:
                found[key] = known
                del unasked[key]
        tally.cached += len(found)

    def keep(question: Question, answer: Answer | Failure) -> None:
        key = key_of[id(question)]
        if isinstance(answer, Answer):
            if not captioner.free:
                cache.put(key, answer, model)
            tally.answered += 1
        else:
            cache.give_up(key)
            tally.failed[answer.reason] += 1
        found[key] = answer
        told(len(found))

    told(len(found))
    while unasked and not tally.stopped:
        elsewhere: dict[str, Question] = {}

        def mine(
            unasked: dict[str, Question], elsewhere: dict[str, Question]
        ) -> Iterator[Question]:
            for key, question in unasked.items():
                if captioner.free or cache.claim(key):
                    yield question
                else:
                    elsewhere[key] = question

        tally.stopped = captioner.answer(mine(unasked, elsewhere), keep)
        if elsewhere and not tally.stopped:
            time.sleep(_LOOK_AGAIN_SECONDS)  # another run is asking; its answer serves this one
        for key in list(elsewhere):
            if (known := cache.get(key)) is not None:
                found[key] = known
                tally.cached += 1
                del elsewhere[key]
        if not tally.stopped:
            unasked = elsewhere
        told(len(found))
    nothing = Failure(tally.stopped or "no_answer")
    return [found.get(key, nothing) for key in keys]
