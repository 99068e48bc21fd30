"""One run of captioning, from a source to a captioned source: what it will cost, what it did, and where it wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdrd.captioning.cache import question_key
from fdrd.captioning.captioner import Expected
from fdrd.captioning.pictures import Found, Picture
from fdrd.captioning.questions import draft_question, evaluation_question
from fdrd.captioning.rounds import Desk, Outcome, Plan, make_captions
from fdrd.captioning.spending import Spending
from fdrd.captioning.writing import count_reasons, write_captions
from fdrd.progress import Progress, silent

_CAPTION_CHARACTERS = 250  # of a draft, in the estimate of what its evaluation takes


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will ask, before it asks.

    Attributes:
        pictures: without a caption.
        known: of them, first drafts that are in the cache already.
        least: questions if every first draft is good.
        most: questions if every picture takes all rounds.
        least_cost: of `least`, at the highest cost of each; None where prices are not known.
        most_cost: of `most`.
        input_tokens: of `least`.
        output_tokens: of `least`, at most.
    """

    pictures: int
    known: int
    least: int
    most: int
    least_cost: float | None
    most_cost: float | None
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did. `unfinished` pictures are for another run, which begins where this one stopped."""

    outcomes: tuple[Outcome, ...]
    unfinished: int
    stopped: str
    summary: Mapping[str, Any]


def sample(pictures: Sequence[Picture], number: int | None) -> tuple[Picture, ...]:
    """So many of the pictures, drawn by their digests: always the same ones. None: all."""
    if number is None or number >= len(pictures):
        return tuple(pictures)
    drawn = sorted(pictures, key=lambda picture: (picture.sha256, picture.path))[:number]
    return tuple(sorted(drawn, key=lambda picture: picture.path))


def estimate(pictures: Sequence[Picture], plan: Plan, desk: Desk) -> Estimate:
    """What the run will ask at least and at most, and what that costs at most."""
    asker, evaluator = desk.captioner, desk.evaluator
    questions = [draft_question(picture, plan.questions) for picture in pictures]
    drafts = [asker.expected(question.text) for question in questions]
    unknown = drafts
    if not asker.free:
        identity = asker.identity
        unknown = [
            expected
            for question, expected in zip(questions, drafts, strict=True)
            if desk.cache.get(question_key(identity, question)) is None
        ]
    verdicts: list[Expected] = []
    if evaluator:
        draft = "x" * _CAPTION_CHARACTERS
        verdicts = [
            evaluator.expected(evaluation_question(picture, draft).text) for picture in pictures
        ]
    rounds = plan.rounds if asker.converses else 1
    least, further = [*unknown, *verdicts], (rounds - 1) * [*drafts, *verdicts]
    return Estimate(
        pictures=len(pictures),
        known=len(drafts) - len(unknown),
        least=len(least),
        most=len(least) + len(further),
        least_cost=_cost(least),
        most_cost=_cost([*least, *further]),
        input_tokens=sum(expected.input_tokens for expected in least),
        output_tokens=sum(expected.output_tokens for expected in least),
    )


def _cost(expected: Sequence[Expected]) -> float | None:
    costs = [each.cost for each in expected if each.cost is not None]
    return sum(costs) if len(costs) == len(expected) else None


def run(
    source: Path,
    out: Path,
    found: Found,
    pictures: Sequence[Picture],
    plan: Plan,
    desk: Desk,
    spending: Spending,
    progress: Progress = silent,
) -> Run:
    """Captions the pictures and writes the captioned source.

    Args:
        source: where the pictures lie.
        out: where the captioned source goes.
        found: what the source holds.
        pictures: those of it that are to be captioned.
        plan: how.
        desk: who is asked.
        spending: the account of the run.
        progress: told of each answer.

    Raises:
        FdrdError: the captioner cannot answer at all; what it answered before is in the cache.
    """
    total = len(pictures)
    outcomes: list[Outcome] = []

    def told(stage: str, done: int) -> None:
        if done < total:  # the last call is ours, at the end
            progress(f"Captions | {stage}{_money(spending, done, total)}", done, total)

    outcomes.extend(make_captions(pictures, found.categories, plan, desk, told))
    made = {
        "captioner": dict(desk.captioner.identity),
        "evaluator": dict(desk.evaluator.identity) if desk.evaluator else None,
    }
    kept = sum(not outcome.reason for outcome in outcomes)
    summary = {
        **made,
        "rounds": plan.rounds,
        "opening": plan.opening,
        "without": sorted(plan.without),
        "least_score": plan.least_score,
        "tokenizer": plan.tokenizer,
        "most_tokens": plan.most_tokens,
        "pictures": total,
        "kept": kept,
        "rejected": count_reasons(outcomes),
        "unfinished": total - len(outcomes),
        "given": len(found.given),
        "not_examined": len(found.rejected),
    }
    progress(
        f"Captions | {kept:,} kept, {len(outcomes) - kept:,} rejected{_money(spending, 1, 1)}",
        total, total,
    )  # fmt: skip
    write_captions(out, source, outcomes, found, made, summary)
    return Run(tuple(outcomes), total - len(outcomes), desk.stopped, summary)


def _money(spending: Spending, done: int, total: int) -> str:
    """What was spent, and what is left to spend if it goes on so."""
    if not spending.spent:
        return ""
    left = spending.spent / done * (total - done) if done else 0.0
    return f", {spending.spent:.4f} spent" + (f", about {left:.4f} to go" if left else "")
