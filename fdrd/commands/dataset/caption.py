"""`fdrd caption`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fdrd.commands.console import out, print_hint, print_json, show_progress
from fdrd.commands.dataset import caption_options as options
from fdrd.commands.dataset.captioner_list import print_captioners
from fdrd.commands.options import Json, Plugins, one_of
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.captioning import CaptioningRun, CaptionSettings


def caption(
    place: options.SourceArgument = None,
    source: options.Source = None,
    captioner: options.Captioner = None,
    option: options.Option = [],  # noqa: B006
    evaluator: options.Evaluator = None,
    evaluator_option: options.EvaluatorOption = [],  # noqa: B006
    target: options.Target = Path("captioned"),
    rounds: options.Rounds = 3,
    backbone: options.Backbone = None,
    min_clip_score: options.MinClipScore = None,
    sample: options.Sample = None,
    budget: options.Budget = None,
    listed: options.List = False,
    questions: options.Questions = None,
    opening: options.Opening = "",
    without: options.Without = [],  # noqa: B006
    answers_file: options.AnswersFile = None,
    max_pixels: options.MaxPixels = 50_000_000,
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
    load_captioners(plugin or ())
    if listed:
        print_captioners(json)
        return
    from fdrd.captioning import caption as caption_source
    from fdrd.hub.source import local_source
    from fdrd.options import split_assignments
    from fdrd.sources.single_file import as_folder

    given = one_of(place, source, "give one SOURCE, e.g. fdrd caption raw/ --captioner template")
    if captioner is None:
        raise FdrdError("give --captioner NAME; `fdrd caption --list` lists them")
    settings = _settings(backbone, questions, rounds=rounds, opening=opening,
        without=frozenset(without), min_clip_score=min_clip_score, sample=sample,
        max_pixels=max_pixels)  # fmt: skip

    with (
        show_progress("All answers are stored: the same command resumes.") as progress,
        as_folder(local_source(given)) as folder,
    ):
        run = caption_source(
            folder, target, captioner=captioner,
            options=split_assignments(option, "-C"), evaluator=evaluator,
            evaluator_options=split_assignments(evaluator_option, "-E"), settings=settings,
            score=_scorer(backbone) if backbone else None, budget=budget, cache=answers_file,
            progress=progress,
        )  # fmt: skip
    if json:
        print_json(
            {**run.summary, "stopped": run.stopped, "asked": run.usage, "removed": run.removed}
        )
    else:
        _print_run(run, target)
    if run.stopped:
        raise typer.Exit(1)


def load_captioners(plugins: Iterable[str]) -> None:
    """Import the modules of `--plugin`."""
    from fdrd.plugins import load_plugin

    for plugin in plugins:
        load_plugin(plugin)


def _settings(backbone: str | None, questions: Path | None, **values: object) -> CaptionSettings:
    from fdrd.captioning import CaptionSettings
    from fdrd.captioning.prompts import read_questions
    from fdrd.commands.dataset.build_summary import tokens_of

    if questions:
        values["questions"] = read_questions(questions)
    if backbone and ":" not in backbone and (tokens := tokens_of(backbone)):  # not a function
        values["tokens"] = tokens
    return CaptionSettings(**values)  # type: ignore[arg-type]


def _scorer(backbone: str):  # type: ignore[no-untyped-def]
    from benchmark.evaluation.encoding import caption_scorer
    from fdrd.commands.console import quiet_transformers

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
