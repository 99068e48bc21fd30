"""`fdrd caption`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import Json, app, err, out, print_json, show_progress
from fdrd.errors import FdrdError


@app.command(
    epilog="Example:  fdrd caption --source raw/ --captioner template        "
    "fdrd caption --source raw/ --captioner endpoint -C model=NAME -C url=http://localhost:8000/v1"
)
def caption(
    source: Annotated[Path, typer.Option(help="Folder of pictures, in a layout of `fdrd build`.")],
    captioner: Annotated[
        str,
        typer.Option(help="Who writes: transformers, endpoint, template, reader, or a plugin's."),
    ],
    target: Annotated[
        Path, typer.Option("--out", help="Folder of the captioned source, for `fdrd build`.")
    ] = Path("captioned"),
    option: Annotated[
        list[str], typer.Option("-C", help="Option of the captioner, as -C model=NAME.")
    ] = [],  # noqa: B006
    evaluator: Annotated[
        str | None, typer.Option(help="Who checks each draft: a captioner that answers questions.")
    ] = None,
    evaluator_option: Annotated[
        list[str], typer.Option("-E", help="Option of the evaluator, as -E model=NAME.")
    ] = [],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Drafts for a picture, at most.")] = 3,
    questions: Annotated[
        Path | None, typer.Option(help="Text file of questions, with {category} and {dataset}.")
    ] = None,
    opening: Annotated[
        str,
        typer.Option(
            help="Put before captions that do not name their category, with {a category}."
        ),
    ] = "",
    without: Annotated[
        list[str], typer.Option(help="Leave this filter out; `fdrd captioners` lists them.")
    ] = [],  # noqa: B006
    backbone: Annotated[
        str | None, typer.Option(help="CLIP that says how well caption and picture fit.")
    ] = None,
    min_clip_score: Annotated[
        float | None, typer.Option(help="Reject captions below this cosine; needs --backbone.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Caption so many pictures only: always the same.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Stop before more is spent, in the prices' money.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would ask and cost, and stop.")
    ] = False,
    answers_file: Annotated[
        Path | None,
        typer.Option("--cache", help="File of the answers; one in the user's cache by default."),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse pictures of more pixels.")
    ] = 50_000_000,
    plugin: Annotated[
        list[str], typer.Option(help="Import this module first, to know its captioners.")
    ] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Write captions for the pictures of a source that have none.

    Drafts go through noise filters and, with --evaluator, to a second model; what is wrong goes back to the captioner,
    in rounds. A caption is cut at the end of a sentence where CLIP would stop reading. The source is not touched: --out
    holds its pictures with captions in the authors' layout, and every picture that got none, with the reason.

    Each answer is stored before it counts. A run that was stopped, however, goes on with the same command; a run that
    is repeated asks nothing.
    """
    from fdrd.captioning import AnswerCache, Spending, default_cache
    from fdrd.captioning.pictures import find_pictures
    from fdrd.captioning.rounds import Desk
    from fdrd.captioning.run import estimate as reckon
    from fdrd.captioning.run import run
    from fdrd.captioning.run import sample as draw
    from fdrd.captioning.writing import check_out
    from fdrd.hub.source import local_source

    register_captioners(plugin)
    source = local_source(source)
    check_out(target, source)
    spending = Spending(budget)
    writer = _make(captioner, option, spending, "-C")
    judge = _make(evaluator, evaluator_option, spending, "-E") if evaluator else None
    if judge and not judge.converses:
        raise FdrdError(f"--evaluator {evaluator} answers no questions; name one that does")
    plan = _plan(rounds, questions, opening, without, min_clip_score, backbone)
    if min_clip_score is not None and backbone is None:
        raise FdrdError("--min-clip-score needs --backbone, whose cosines it limits")
    score = _score(backbone) if backbone else None
    with (
        show_progress("Every answer is kept: the same command goes on from there.") as progress,
        AnswerCache(answers_file or default_cache()) as answers,
    ):
        found = find_pictures(source, max_pixels, progress=progress)
        pictures = draw(found.pictures, sample)
        desk = Desk(writer, judge, score, answers)
        expected = reckon(pictures, plan, desk)
        if estimate:
            _print_estimate(expected, budget, out, json)
            return
        if not writer.free or judge:
            _print_estimate(expected, budget, err, False)
        done = run(source, target, found, pictures, plan, desk, spending, progress)
    attempts = {
        name: dict(sorted(failed.items()))
        for name, one in (("captioner", writer), ("evaluator", judge))
        if (failed := getattr(one, "attempts_failed", None))
    }
    if json:
        asked = {
            "cached": desk.drafts.cached + desk.evaluations.cached,
            "answered": desk.drafts.answered + desk.evaluations.answered,
            "attempts_failed": attempts,
            "input_tokens": spending.input_tokens,
            "output_tokens": spending.output_tokens,
            "spent": spending.spent,
        }
        print_json({**done.summary, "stopped": done.stopped, "asked": asked})
    else:
        _print_run(done, desk, spending, attempts, target)
    if done.stopped:
        raise typer.Exit(1)


def register_captioners(plugins: list[str]) -> None:
    """Makes the captioners of this package and of the plugins known."""
    import fdrd.captioning.captioners  # noqa: F401 - registers them

    if plugins:
        import sys

        from fdrd.plugins import load_plugin

        sys.path.insert(0, "")  # a plugin may lie in the folder where the command runs
        for plugin in plugins:
            load_plugin(plugin)


def _make(name: str, given: list[str], spending: Any, flag: str) -> Any:
    from fdrd.captioning import captioner_options, get_captioner
    from fdrd.options import read_options, split_assignments

    options = read_options(captioner_options(name), split_assignments(given, flag), name)
    return get_captioner(name)(spending, **options)


def _plan(
    rounds: int,
    questions: Path | None,
    opening: str,
    without: list[str],
    score: float | None,
    backbone: str | None,
) -> Any:
    from fdrd.captioning.noise import FILTERS
    from fdrd.captioning.questions import QUESTIONS, read_questions
    from fdrd.captioning.reasons import VERDICTS
    from fdrd.captioning.rounds import Plan
    from fdrd.captioning.wording import fill
    from fdrd.commands.dataset.build_options import tokens_of
    from fdrd.options import unknown
    from fdrd.text.tokens import counter_for

    for name in without:
        if name not in FILTERS and name not in VERDICTS:
            raise FdrdError(unknown("filter", name, [*FILTERS, *VERDICTS], "fdrd"))
    try:
        fill(opening, {"category": "wren"})
    except KeyError as error:
        raise FdrdError(
            f"--opening: {{{error.args[0]}}} is not known; write {{a category}}"
        ) from error
    asked = read_questions(questions) if questions else QUESTIONS
    plan = Plan(rounds, asked, opening, frozenset(without), score)
    named = (
        backbone if backbone and ":" not in backbone else None
    )  # a function brings no file to count with
    counter = counter_for(named, tokens_of)
    if counter is None:
        return plan  # which estimates, and leaves room
    return replace(
        plan,
        tokenizer=counter.name,
        most_tokens=counter.limit,
        count=lambda text: counter.count([text])[0],
    )


def _score(spec: str) -> Any:
    """The score of pictures and captions under a backbone, which is loaded when the first are there."""

    def score(pictures: Any, captions: Any) -> list[float]:
        from benchmark.models.clip_score import clip_scores

        images = (picture.upright() for picture in pictures)
        return list(clip_scores(backbone(), zip(images, captions, strict=True)))

    @cache
    def backbone() -> Any:
        from benchmark.models.loading import load_backbone
        from fdrd.commands.console import quiet_transformers

        quiet_transformers()
        return load_backbone(spec, allow_code=True)

    return score


def _print_estimate(expected: Any, budget: float | None, where: Any, json: bool) -> None:
    from dataclasses import asdict

    if json:
        print_json(asdict(expected))
        return
    where.print(
        f"{expected.pictures:,} pictures without a caption; the first draft of {expected.known:,} is known already."
    )
    where.print(
        f"To ask: {expected.least:,} questions if every first draft is good, {expected.most:,} at most; "
        f"for the former about {expected.input_tokens:,} tokens read and up to {expected.output_tokens:,} written."
    )
    if expected.least_cost is None:
        where.print(
            "The cost is not known: no prices were given (-C input_price= and output_price=)."
        )
    elif expected.most_cost:
        where.print(
            f"Cost: up to {expected.least_cost:.4f}, and {expected.most_cost:.4f} at most. It is taken that a "
            "picture costs picture_tokens, three characters a token, and every answer is as long as it may be."
        )
    if budget is not None:
        where.print(f"The budget of {budget:g} stops it before more is spent.")


def _print_run(done: Any, desk: Any, spending: Any, attempts: Any, target: Path) -> None:
    summary = done.summary
    for reason, count in summary["rejected"].items():
        out.print(f"  {count:,} rejected: {reason}")
    for name, failed in attempts.items():
        said = ", ".join(f"{count:,} {reason}" for reason, count in failed.items())
        out.print(f"  attempts of the {name} that failed: {said}")
    asked = desk.drafts.answered + desk.evaluations.answered
    known = desk.drafts.cached + desk.evaluations.cached
    if known or (asked and spending.output_tokens) or desk.evaluator:
        out.print(
            f"{known + asked:,} answers: {known:,} from the cache, {asked:,} asked now", end=""
        )
        out.print(f", {spending.spent:.4f} spent" if spending.spent else "")
    rejected = sum(summary["rejected"].values())
    out.print(
        f"{summary['pictures']:,} pictures = {summary['kept']:,} captions + {rejected:,} rejected + "
        f"{summary['unfinished']:,} unfinished"
    )
    if summary["given"]:
        out.print(f"{summary['given']:,} captions that the source has were taken over")
    if summary["not_examined"]:
        out.print(
            f"{summary['not_examined']:,} more could not be read; `fdrd build` on the source says why"
        )
    if done.stopped:
        out.print(
            f"Stopped: {done.stopped}. The same command, with more to spend, goes on from there."
        )
    out.print(f"Next:  fdrd build --source {target}", style="dim")
