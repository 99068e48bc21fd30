"""`fdrd caption`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdrd.commands.build import tokens_of
from fdrd.commands.console import out, quiet_transformers, show_progress
from fdrd.commands.options import RARE, Count, Json, Plugins, one_of
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.captioning import CaptioningRun
    from fdrd.captioning.captioning_run import Score


_rare = partial(typer.Option, rich_help_panel=RARE)
_option = partial(typer.Option, metavar="NAME=VALUE")


def caption(
    positional: Annotated[str | None, typer.Argument(metavar="SOURCE")] = None,
    source: Annotated[str | None, typer.Option(hidden=True)] = None,
    captioner: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    option: Annotated[list[str] | None, _option("--captioner-option", "-C")] = None,
    evaluator: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    evaluator_option: Annotated[list[str] | None, _option("--evaluator-option", "-E")] = None,
    target: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER")] = Path("captioned"),
    rounds: Count = 3,
    backbone: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    min_clip_score: Annotated[float | None, typer.Option(metavar="COSINE")] = None,
    sample: Annotated[int | None, typer.Option(metavar="N", min=1)] = None,
    budget: Annotated[float | None, typer.Option(metavar="AMOUNT", min=0)] = None,
    listed: Annotated[bool, typer.Option("--list")] = False,
    questions: Annotated[Path | None, _rare()] = None,
    opening: Annotated[str, _rare()] = "",
    without: Annotated[list[str] | None, _rare()] = None,
    answers_file: Annotated[Path | None, _rare("--cache")] = None,
    max_pixels: Annotated[int, _rare(min=1)] = 50_000_000,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Write captions for the images of a source that have none.

    Drafts pass noise filters and, with --evaluator, a second model. What is wrong goes back to the captioner in
    further rounds. A caption is cut at the end of a sentence where CLIP would stop reading. The source is not changed.
    --out holds its images with captions in the authors' layout, and lists images without a caption with the reason.

    Each answer is stored before it counts. After any stop the same command resumes, and a repeated run asks nothing.

    Args:
        positional: Folder of images, in a layout of `fdrd build`.
        captioner: transformers, endpoint, template, reader, or a plugin's captioner.
        option: Option of the captioner; repeatable.
        evaluator: Captioner that checks each draft: transformers or endpoint.
        evaluator_option: Option of the evaluator; repeatable.
        target: Output folder, a source for `fdrd build`.
        rounds: Maximum number of drafts per image.
        backbone: CLIP model that scores captions and counts tokens.
        min_clip_score: Reject captions below this cosine; needs --backbone.
        sample: Caption a fixed sample of this many images.
        budget: Stop before spending more, in the prices' currency.
        listed: List captioners and their options, noise filters, and why an image gets no caption; then stop.
        questions: Text file of prompts with {category} and {dataset}.
        opening: Text before captions without their category, with {a category}.
        without: Ignore this filter; `fdrd caption --list` lists them.
        answers_file: Answer file; by default in the user's cache.
        max_pixels: Reject images with more pixels.

    Examples:
        fdrd caption raw/ --captioner template
        fdrd caption raw/ --captioner endpoint -C model=NAME -C url=http://localhost:8000/v1
        fdrd caption --list
    """
    from fdrd.imports import load_plugin

    for module in plugin or ():
        load_plugin(module)
    if listed:
        _print_captioners(json)
        return
    from fdrd.captioning import CaptionSettings
    from fdrd.captioning import caption as caption_source
    from fdrd.captioning.captioning_run import DEFAULT_TOKENS
    from fdrd.captioning.wording import QUESTIONS, read_questions
    from fdrd.hub.source import local_source
    from fdrd.options import split_assignments
    from fdrd.sources.single_file import as_folder

    remedy = "give one SOURCE, e.g. fdrd caption raw/ --captioner template"
    location = one_of(positional, source, remedy)
    if captioner is None:
        raise FdrdError("give --captioner NAME; `fdrd caption --list` lists them")
    named = backbone if backbone and ":" not in backbone else None  # not a function
    settings = CaptionSettings(
        rounds=rounds,
        questions=read_questions(questions) if questions else QUESTIONS,
        opening=opening,
        without=frozenset(without or ()),
        min_clip_score=min_clip_score,
        tokens=(tokens_of(named) if named else None) or DEFAULT_TOKENS,
        sample=sample,
        max_pixels=max_pixels,
    )
    with (
        show_progress("All answers are stored: the same command resumes.") as progress,
        as_folder(local_source(location)) as folder,
    ):
        run = caption_source(
            folder,
            target,
            captioner=captioner,
            options=split_assignments(option or (), "-C"),
            evaluator=evaluator,
            evaluator_options=split_assignments(evaluator_option or (), "-E"),
            settings=settings,
            score=_scorer(backbone) if backbone else None,
            budget=budget,
            cache=answers_file,
            progress=progress,
        )
    if json:
        counts = {"stopped": run.stopped, "asked": run.usage, "removed": run.removed}
        out.json({**run.summary, **counts})
    else:
        _print_run(run, target)
    if run.stopped:
        raise typer.Exit(1)


def _print_captioners(json: bool) -> None:
    """Print captioners and their options, noise filters, and why an image gets no caption."""
    from fdrd.captioning.interface import FAILURES, described_captioners
    from fdrd.captioning.noise import FILTERS
    from fdrd.captioning.wording import VERDICTS

    filters = {name: feedback for name, (feedback, _) in FILTERS.items()}
    reasons = {"filters": filters, "verdicts of an evaluator": VERDICTS, "failures": FAILURES}
    captioners = described_captioners()
    if json:
        listed = {
            name: {"summary": summary, "options": {key: one.doc for key, one in options.items()}}
            for name, (summary, options) in captioners.items()
        }
        out.json({"captioners": listed, **reasons})
        return
    for name, (summary, options) in captioners.items():
        out.print(name, style="bold", end="  ")
        out.print(summary)
        out.describe(options.values())
    for title, codes in reasons.items():
        out.print(title, style="bold")
        for code, meaning in codes.items():
            out.print(f"    {code}  {meaning}")


def _scorer(backbone: str) -> Score:
    from benchmark.evaluation.encoding import caption_scorer

    quiet_transformers()
    return caption_scorer(backbone, allow_code=True)


def _print_run(run: CaptioningRun, target: Path) -> None:
    summary, usage = run.summary, run.usage
    for reason, count in summary["rejected"].items():
        out.print(f"  {count:,} rejected: {reason}")
    cached, answered, spent = usage["cached"], usage["answered"], usage["spent"]
    if cached + answered:
        money = f", {spent:.4f} spent" if spent else ""
        parts = f"{cached:,} from the cache, {answered:,} new{money}"
        out.print(f"{cached + answered:,} answers: {parts}")
    out.print(
        f"{summary['images']:,} images = {summary['kept']:,} captions + "
        f"{sum(summary['rejected'].values()):,} rejected + {summary['unfinished']:,} unfinished"
    )
    if summary["copied"]:
        out.print(f"{summary['copied']:,} captions copied from the source")
    if summary["not_examined"]:
        out.print(f"{summary['not_examined']:,} entries are unusable; `fdrd build` says why")
    if run.removed:
        why = "without a caption now, or no longer in the source"
        out.print(f"{run.removed:,} images of an earlier run removed: {why}")
    if run.stopped:
        out.print(f"Stopped: {run.stopped}. The same command with a larger budget resumes.")
    if summary["kept"] or summary["copied"]:
        out.hint(f"Next:  fdrd build {target}")
    else:
        out.hint(f"Next:  read the reasons in {target}/*/rejected_captions.jsonl")
