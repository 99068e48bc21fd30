"""`fdrd caption`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdrd.commands.console import (
    out,
    print_hint,
    print_json,
    print_options,
    quiet_transformers,
    show_progress,
)
from fdrd.commands.help import RARE
from fdrd.commands.options import Json, Plugins, one_of
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.captioning import CaptioningRun
    from fdrd.captioning.answer_cache import Score
    from fdrd.text.tokens import TokenCounter


_rare = partial(typer.Option, rich_help_panel=RARE)


def caption(
    positional: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="Folder of images, in a layout of `fdrd build`."),
    ] = None,
    source: Annotated[str | None, typer.Option(hidden=True)] = None,
    captioner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="transformers, endpoint, template, reader, or a plugin's captioner.",
        ),
    ] = None,
    option: Annotated[
        list[str],
        typer.Option(
            "--captioner-option",
            "-C",
            metavar="NAME=VALUE",
            help="Option of the captioner; repeatable.",
        ),
    ] = [],  # noqa: B006
    evaluator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Captioner that checks each draft: transformers or endpoint."
        ),
    ] = None,
    evaluator_option: Annotated[
        list[str],
        typer.Option(
            "--evaluator-option",
            "-E",
            metavar="NAME=VALUE",
            help="Option of the evaluator; repeatable.",
        ),
    ] = [],  # noqa: B006
    target: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Output folder, a source for `fdrd build`."
        ),
    ] = Path("captioned"),
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum number of drafts per image.")
    ] = 3,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="CLIP model that scores captions and counts tokens."),
    ] = None,
    min_clip_score: Annotated[
        float | None,
        typer.Option(metavar="COSINE", help="Reject captions below this cosine; needs --backbone."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Caption a fixed sample of this many images."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="AMOUNT", min=0, help="Stop before spending more, in the prices' currency."
        ),
    ] = None,
    listed: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List captioners and their options, noise filters, and why an image gets no caption; then stop.",
        ),
    ] = False,
    questions: Annotated[
        Path | None, _rare(help="Text file of prompts with {category} and {dataset}.")
    ] = None,
    opening: Annotated[
        str, _rare(help="Text before captions without their category, with {a category}.")
    ] = "",
    without: Annotated[
        list[str], _rare(help="Ignore this filter; `fdrd caption --list` lists them.")
    ] = [],  # noqa: B006
    answers_file: Annotated[
        Path | None, _rare("--cache", help="Answer file; by default in the user's cache.")
    ] = None,
    max_pixels: Annotated[int, _rare(min=1, help="Reject images with more pixels.")] = 50_000_000,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Write captions for the images of a source that have none.

    Drafts pass noise filters and, with --evaluator, a second model. What is wrong goes back to the captioner in
    further rounds. A caption is cut at the end of a sentence where CLIP would stop reading. The source is not changed.
    --out holds its images with captions in the authors' layout, and lists images without a caption with the reason.

    Each answer is stored before it counts. After any stop the same command resumes, and a repeated run asks nothing.

    Examples:
        fdrd caption raw/ --captioner template
        fdrd caption raw/ --captioner endpoint -C model=NAME -C url=http://localhost:8000/v1
        fdrd caption --list

    Note:
        One parameter per option of the command line.
    """
    from fdrd.imports import load_plugin

    for module in plugin or ():
        load_plugin(module)
    if listed:
        _print_captioners(json)
        return
    from fdrd.captioning import CaptionSettings
    from fdrd.captioning import caption as caption_source
    from fdrd.captioning.prompts import QUESTIONS, read_questions
    from fdrd.captioning.rounds import DEFAULT_TOKENS
    from fdrd.hub.source import local_source
    from fdrd.options import split_assignments
    from fdrd.sources.single_file import as_folder

    location = one_of(
        positional, source, "give one SOURCE, e.g. fdrd caption raw/ --captioner template"
    )
    if captioner is None:
        raise FdrdError("give --captioner NAME; `fdrd caption --list` lists them")
    settings = CaptionSettings(
        rounds=rounds,
        questions=read_questions(questions) if questions else QUESTIONS,
        opening=opening,
        without=frozenset(without),
        min_clip_score=min_clip_score,
        tokens=_tokens(backbone) or DEFAULT_TOKENS,
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
            options=split_assignments(option, "-C"),
            evaluator=evaluator,
            evaluator_options=split_assignments(evaluator_option, "-E"),
            settings=settings,
            score=_scorer(backbone) if backbone else None,
            budget=budget,
            cache=answers_file,
            progress=progress,
        )
    if json:
        print_json(
            {**run.summary, "stopped": run.stopped, "asked": run.usage, "removed": run.removed}
        )
    else:
        _print_run(run, target)
    if run.stopped:
        raise typer.Exit(1)


def _print_captioners(json: bool) -> None:
    """Print captioners and their options, noise filters, and why an image gets no caption."""
    from fdrd.captioning.interface import FAILURES, described_captioners
    from fdrd.captioning.noise import FILTERS
    from fdrd.captioning.prompts import VERDICTS

    filters = {name: feedback for name, (feedback, _) in FILTERS.items()}
    reasons = {"filters": filters, "verdicts of an evaluator": VERDICTS, "failures": FAILURES}
    captioners = described_captioners()
    if json:
        listed = {
            name: {"summary": summary, "options": {key: one.doc for key, one in options.items()}}
            for name, (summary, options) in captioners.items()
        }
        print_json({"captioners": listed, **reasons})
        return
    for name, (summary, options) in captioners.items():
        out.print(name, style="bold", end="  ")
        out.print(summary)
        print_options(options.values())
    for title, codes in reasons.items():
        out.print(title, style="bold")
        for code, meaning in codes.items():
            out.print(f"    {code}  {meaning}")


def _tokens(backbone: str | None) -> TokenCounter | None:
    from fdrd.commands.dataset.build_summary import tokens_of

    return tokens_of(backbone) if backbone and ":" not in backbone else None  # not a function


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
        out.print(
            f"{cached + answered:,} answers: {cached:,} from the cache, {answered:,} new{money}"
        )
    out.print(
        f"{summary['images']:,} images = {summary['kept']:,} captions + "
        f"{sum(summary['rejected'].values()):,} rejected + {summary['unfinished']:,} unfinished"
    )
    if summary["copied"]:
        out.print(f"{summary['copied']:,} captions copied from the source")
    if summary["not_examined"]:
        out.print(f"{summary['not_examined']:,} entries are unusable; `fdrd build` says why")
    if run.removed:
        out.print(
            f"{run.removed:,} images of an earlier run removed: without a caption now, or no longer in the source"
        )
    if run.stopped:
        out.print(f"Stopped: {run.stopped}. The same command with a larger budget resumes.")
    if summary["kept"] or summary["copied"]:
        print_hint(f"Next:  fdrd build {target}")
    else:
        print_hint(f"Next:  read the reasons in {target}/*/rejected_captions.jsonl")
