"""`fdrd bench` and `fdrd run`, and what they print about their runs: plan, time left, results, and what failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdrd.commands.console import count_of, err, out, quiet_transformers, show_progress
from fdrd.commands.options import (
    RARE,
    Backbone,
    Count,
    Device,
    Json,
    Plugins,
    Texts,
    Track,
    default_dataset,
    load_plugins,
)
from fdrd.errors import FdrdError
from fdrd.options import MOST_SEED, MOST_SEEDS
from fdrd.progress import FINISHED, Progress

if TYPE_CHECKING:
    from benchmark.runner.description import Resources, Run


WITH_PRESET = {
    *("dataset", "data", "method", "method_option", "train_option", "epochs", "lr", "batch_size"),
    *("domain", "seed", "seeds", "preset", "results", "backbone", "device", "plugin", "json"),
    *("quiet", "verbose"),
}
"""Parameters that a preset leaves open; it decides all others."""


_methods = partial(typer.Option, rich_help_panel="Methods")
_rows = partial(typer.Option, rich_help_panel="Data")
_training = partial(typer.Option, rich_help_panel="Training")
_rare = partial(typer.Option, rich_help_panel=RARE)


def bench(
    context: typer.Context,
    dataset: Annotated[Texts, typer.Argument(metavar="DATASET|METHOD")] = None,
    method: Annotated[Texts, _methods("--method", "-m", metavar="NAME")] = None,
    everything: Annotated[bool, _methods("--all")] = False,
    checkpoint: Annotated[str | None, _methods(metavar="FILE")] = None,
    method_option: Annotated[Texts, _methods("--method-option", "-M", metavar="NAME=VALUE")] = None,
    data: Annotated[str | None, _rows(hidden=True)] = None,
    split: Annotated[str, _rows()] = "test",
    domain: Annotated[str | None, _rows()] = None,
    shots: Annotated[int | None, _rows(metavar="N", min=1)] = None,
    limit: Annotated[int | None, _rows(metavar="N", min=2)] = None,
    gallery: Annotated[str, _rows()] = "domain",
    preset: Annotated[Literal["paper"] | None, _rows(metavar="NAME")] = None,
    seeds: Annotated[int, _training(metavar="N", min=1, max=MOST_SEEDS)] = 1,
    train_option: Annotated[Texts, _training("--train-option", "-T", metavar="NAME=VALUE")] = None,
    epochs: Annotated[str | None, typer.Option(metavar="N", hidden=True)] = None,
    lr: Annotated[str | None, typer.Option("--lr", metavar="RATE", hidden=True)] = None,
    batch_size: Annotated[str | None, typer.Option(metavar="N", hidden=True)] = None,
    ablate: Annotated[str | None, _rare(metavar="NAME")] = None,
    train_domain: Annotated[str | None, _rare(metavar="DOMAIN")] = None,
    categories: Annotated[Path | None, _rare(metavar="FILE")] = None,
    hard_negatives: Annotated[bool, _rare()] = True,
    seed: Annotated[int, _rare(metavar="N", min=0, max=MOST_SEED)] = 0,
    track: Track = None,
    results: Annotated[Path, typer.Option("--results", "-o", metavar="FOLDER")] = Path("runs"),
    backbone: Backbone = None,
    device: Device = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Train and measure methods; print recalls of image-to-text and text-to-image retrieval.

    Runs with a result file are not repeated, and one training serves all splits, domains and halves that it is
    measured on. Ties count against a method. A method that fails does not stop the others.

    Methods train on all domains together and are measured on each separately. --domain D uses D only.

    Args:
        dataset: Folder, registered name or Hub id of a dataset (default: data/fdrd, else the only dataset in data), and
            names from `fdrd methods`.
        method: The same as METHOD; repeatable.
        everything: Run every method.
        checkpoint: Use this checkpoint instead of training: a .safetensors file that a bench wrote, or a Hub model as
            ORG/NAME or ORG/NAME@REVISION. It names its method and backbone.
        method_option: Option of every method that has it, or of one with METHOD.NAME=VALUE; repeatable.
        split: Split to measure: test, validation or train.
        domain: Use only this domain, also for training.
        shots: Images per category to train on.
        limit: Use only this many images of each split, for a quick trial.
        gallery: domain, joint, or a number of images per gallery.
        preset: paper: the protocol of DCAR. One model per domain learns from train and validation rows, its last step
            is measured on the whole test split, and published numbers are printed beside.
        seeds: Number of seeds to run.
        train_option: Option of the training, e.g. epochs=5, learning_rate=0.002, batch_size=64 or optimizer=adamw;
            `fdrd methods training` lists them; repeatable.
        ablate: Run every variant of this method, with and without each part.
        train_domain: Train on this domain instead, or on all (joint training). With --domain: measure transfer.
        categories: Base-to-new: a text file with one category per line. Train on these only; measure them (base) and
            all others (new), each with its own gallery.
        hard_negatives: Measure hard-negative accuracy, which has several times as many captions to encode.
        seed: Seed of training and of the few-shot draw.
        results: Folder of result files.

    Examples:
        fdrd bench data/fdrd zero_shot coop --seeds 3
        fdrd bench data/fdrd --method coop --split validation -M n_ctx=4 -T epochs=5
    """
    from benchmark.checkpoint import find_checkpoint, read_header
    from benchmark.experiments.plan import PAPER_METHODS
    from benchmark.registry import chosen_methods, distribute, takes, variants_of
    from benchmark.runner.description import Resources, Run, check_runs
    from benchmark.training.row_selection import limited, read_categories
    from fdrd.options import split_assignments

    quiet_transformers()
    shortcuts = {"epochs": epochs, "learning_rate": lr, "batch_size": batch_size}
    short = [f"{name}={value}" for name, value in shortcuts.items() if value is not None]
    train = split_assignments([*(train_option or ()), *short], "-T")
    assigned = split_assignments(method_option or (), "-M")
    if gallery not in ("domain", "joint") and not gallery.isdigit():
        raise FdrdError(f"--gallery {gallery}: give domain, joint or a number of images")
    load_plugins(plugin)
    learned = read_header(find_checkpoint(checkpoint)).settings if checkpoint else None
    named, method = _data_and_methods([*(dataset or ()), *([data] if data else ())], method or ())
    if preset:
        _refuse_with_preset(context, preset)
        method = method or [*PAPER_METHODS]
    elif learned:
        method = method or [learned.method]
    names = list(dict.fromkeys(chosen_methods(method, everything, ablate)))
    name = named or str(default_dataset())
    of_method = distribute(names, assigned)
    rows = {name: limited(name, limit)} if limit else {}
    shared = Run(method="", data=name, backbone=backbone, split=split, domain=domain, shots=shots)
    shared = shared.changed(
        train=train,
        train_domain=train_domain,
        categories=read_categories(categories) if categories else None,
        gallery=int(gallery) if gallery.isdigit() else gallery,
        hard_negatives=hard_negatives,
        checkpoint=checkpoint,
        preset=preset,
    )
    runs = [shared.changed(method=each, options=of_method[each]) for each in names]
    if ablate:
        variants = variants_of(ablate, of_method[ablate])
        runs = [runs[0].changed(options=o, label=f"{ablate}, {v}") for v, o in variants.items()]
    check_runs(runs, data=rows, device=device, results=results)
    seed_range = range(seed, seed + seeds)
    if preset:
        _run_preset(runs, seed_range, results, json, plugin or (), device)
        return
    # A method without randomness runs once.
    planned = () if ablate or learned else names
    expected = [each for each in planned for _ in range(seeds if takes(each, "seed") else 1)]
    tower = backbone or (learned.backbone.name if learned else None)
    may_run_code, split_data = backbone is not None, rows.get(name, name)
    resources = Resources(split_data, tower, results, track, device=device, allow_code=may_run_code)
    full = of_method[ablate] if ablate else None
    _measure(runs, seed_range, resources, expected, full, json)


def _measure(
    runs: Sequence[Run],
    seeds: range,
    resources: Resources,
    expected: Sequence[str],
    full: dict[str, Any] | None,
    json: bool,
) -> None:
    """Train and measure, and print the results; `full` are the options of the method whose parts are left out."""
    from benchmark.models.loading import default_backbone
    from benchmark.models.processes import chosen_device, is_main
    from benchmark.results import ablation, significance_table
    from benchmark.runner.plan import opened
    from benchmark.runner.runs import evaluate_runs, truncation
    from benchmark.training.row_selection import split_of

    out.quiet, err.quiet = not is_main(), err.quiet or not is_main()  # only one process prints
    shared, results = runs[0], resources.results or Path()
    tower = str(resources.backbone or default_backbone(shared.data))
    methods = expected or list(dict.fromkeys(run.method for run in runs))
    count, names = count_of(len(methods), "run"), ", ".join(dict.fromkeys(methods))
    where = f"{tower} on {chosen_device(resources.device)}"
    plan = f"{shared.data}, {shared.split}: {count} of {names}; {where}"
    err.print(plan, soft_wrap=not err.is_terminal)
    with show_runs(results) as progress:
        progress = with_time_left(progress, len(expected))
        resources = opened(runs, replace(resources, backbone=tower, progress=progress))
        outcome = evaluate_runs(runs, seeds, resources)
    print_results(outcome, results, json)
    if not json and not isinstance(resources.backbone, str | None):
        captions = split_of(resources.data, shared.split, shared.domain).captions
        if cut := truncation(resources.backbone, captions):
            out.print(cut)
    if full is not None and not json:
        out.report(significance_table(ablation(outcome.results, full)))
    raise_failed(outcome)


def _data_and_methods(
    arguments: Sequence[str], methods: Sequence[str]
) -> tuple[str | None, list[str]]:
    """Return the dataset, and the methods that are given as arguments or options, in any order."""
    from benchmark.registry import method_names, other_names
    from fdrd.options import closest, unknown
    from fdrd.storage.registration import registered_folder

    known = set(method_names())
    datasets = [each for each in arguments if each not in known or Path(each).exists()]
    for each in datasets:
        exists = "/" in each or Path(each).exists() or registered_folder(each)
        if not exists and closest(each, known, other_names()):
            raise FdrdError(unknown("method", each, known, "fdrd", other_names()))
    if len(datasets) > 1:
        remedy = "give one, and methods by their names in `fdrd methods`"
        raise FdrdError(f"several datasets: {', '.join(datasets)}; {remedy}")
    return next(iter(datasets), None), [*methods, *(e for e in arguments if e not in datasets)]


def _run_preset(
    runs: Sequence[Run],
    seeds: range,
    results: Path,
    json: bool,
    plugins: Sequence[str],
    device: str | None,
) -> None:
    """Run methods by the paper's protocol, and print the published numbers beside the results."""
    from benchmark.experiments.execution import run_experiment
    from benchmark.experiments.plan import Experiment, Protocols
    from benchmark.models.loading import DEFAULT_BACKBONE
    from benchmark.reporting.pages import rendered
    from benchmark.reporting.published import PAPER, beside, read_published
    from benchmark.runner.description import Run

    shared, methods = runs[0], [Run(method=each.method, options=each.options) for each in runs]
    plan = Experiment(
        data=shared.data,
        methods=[*methods],
        backbones=[shared.backbone or DEFAULT_BACKBONE],
        protocols=[Protocols(preset="paper", domain=shared.domain or "each")],
        seeds=[*seeds],
        train=shared.train,
        results=str(results),
    )
    with show_runs(results) as progress:
        outcome = run_experiment(
            plan, plugins=plugins, device=device, allow_code=True, progress=progress
        )
    print_results(outcome, results, json)
    if outcome.results and not json:
        try:
            out.print(rendered(beside(outcome.results, read_published(PAPER))))
        except FdrdError as error:  # other domains or methods than the paper's
            err.print(f"No published numbers beside these: {error}", style="dim", soft_wrap=True)
    raise_failed(outcome)


def _refuse_with_preset(context: typer.Context, preset: str) -> None:
    """Raise if an option is given that the preset decides."""
    refused = [
        param.opts[0]
        for param in context.command.params
        if param.name not in WITH_PRESET
        and (source := context.get_parameter_source(str(param.name)))
        and source.name == "COMMANDLINE"
    ]
    if refused:
        raise FdrdError(f"--preset {preset} decides this; leave out {' and '.join(refused)}")


def run(
    experiment: Annotated[Path, typer.Argument(metavar="FILE")],
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    jobs: Count = 1,
    backbone: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    results: Annotated[Path | None, typer.Option("--results", "-o", metavar="FOLDER")] = None,
    track: Track = None,
    plugin: Plugins = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Run an experiment file: methods, data, backbones, protocols and seeds, one result file per cell.

    Cells with a result are not repeated, and an interrupted training resumes. A cell that fails does not stop
    the others. `fdrd report`, `fdrd compare` and `fdrd view` read the results folder.

    Args:
        experiment: Experiment file, see docs/experiments.md.
        dry_run: List the cells and which have a result; run nothing.
        jobs: Number of processes.
        backbone: Use this backbone instead of those in the file; may be file.py:function.
        results: Folder of result files, instead of the one in the file.

    Examples:
        fdrd run experiment.toml --jobs 2
    """
    quiet_transformers()
    from msgspec.structs import replace

    from benchmark.experiments.plan import brief, read_experiment
    from benchmark.runner.description import check_runs

    load_plugins(plugin)
    plan = read_experiment(experiment)
    plan = replace(plan, backbones=[backbone]) if backbone else plan
    plan = replace(plan, results=str(results)) if results else plan
    if dry_run:
        from benchmark.experiments.execution import states

        rows = states(plan)
        if json:
            out.json([{"cell": cell.name, "state": state} for cell, state in rows])
        else:
            cells = [cell for cell, _ in rows]
            out.table(("state", "cell"), [(state, brief(cell, cells)) for cell, state in rows])
        return
    check_runs(plan.cells(), device=device, results=plan.results)
    from benchmark.experiments.execution import run_experiment  # imports torch

    with show_runs(plan.results) as progress:
        outcome = run_experiment(
            plan,
            jobs=jobs,
            plugins=plugin or (),
            device=device,
            track=track,
            allow_code=backbone is not None,
            progress=progress,
        )
    print_results(outcome, plan.results, json)
    raise_failed(outcome)


def show_runs(results: Path | str) -> AbstractContextManager[Progress]:
    """Show the progress of runs; Ctrl-C says where their results are."""
    saved = f"Finished runs and unfinished training are saved in {results}"
    return show_progress(f"{saved}; the same command continues.")


def with_time_left(progress: Progress, runs: int) -> Progress:
    """Return a progress that adds to the line of a finished run how long the others may take."""
    started, finished = time.monotonic(), 0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal finished
        if stage.partition(" | ")[0].endswith(f": {FINISHED}"):
            finished += 1
            spent = time.monotonic() - started
            if finished < runs and spent >= 1:
                left = duration(spent / finished * (runs - finished))
                stage += f" ({finished} of {runs}, about {left} left)"
        progress(stage, done, total)

    return report


def duration(seconds: float) -> str:
    """Return a duration as text.

    >>> duration(4.2), duration(200), duration(9000)
    ('4 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_results(outcome: Any, results: Path | str, json: bool) -> None:
    """Print the results as a table and the next commands, or as JSON."""
    from benchmark.reporting.pages import table

    if json:
        out.json([result.to_dict() for result in outcome.results])
    elif outcome.results:
        out.report(table(outcome.results))
        _print_few_images(outcome.results)
        out.hint(f"\nNext:  fdrd report {results}        fdrd compare {results}")


def _print_few_images(results: Iterable[Any]) -> None:
    """Say which domains are too small to measure, once for each split."""
    from benchmark.intervals import few_images
    from benchmark.result import query_groups

    counts: dict[str, dict[str, int]] = {}
    for result in results:
        images = Counter(query_groups(result).domain_of_image.tolist())
        for index, domain in enumerate(result.metrics.by_domain):
            counts.setdefault(result.settings.split, {})[domain] = images[index]
    for split, by_domain in counts.items():
        if text := few_images(split, by_domain):
            out.print(text)


def raise_failed(outcome: Any) -> None:
    """Raise the errors of the cells or methods that failed, each on its own line."""
    if outcome.failed:
        raise FdrdError("\n".join(f"{name} failed: {e}" for name, e in outcome.failed.items()))
