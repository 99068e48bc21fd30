"""`fdrd bench`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdrd.commands.benchmark.outcome import (
    planned_runs,
    print_plan,
    print_results,
    raise_failed,
    show_runs,
    with_time_left,
)
from fdrd.commands.console import err, out, print_report, quiet_transformers
from fdrd.commands.help import RARE
from fdrd.commands.options import (
    Backbone,
    Device,
    Json,
    Plugins,
    Track,
    default_dataset,
    load_plugins,
)
from fdrd.errors import FdrdError
from fdrd.options import MOST_SEED, MOST_SEEDS

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
    dataset: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET|METHOD",
            help="Folder, registered name or Hub id of a dataset (default: data/fdrd, else the only dataset in data), "
            "and names from `fdrd methods`.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        _methods("--method", "-m", metavar="NAME", help="The same as METHOD; repeatable."),
    ] = None,
    everything: Annotated[bool, _methods("--all", help="Run every method.")] = False,
    checkpoint: Annotated[
        str | None,
        _methods(
            metavar="FILE",
            help="Use this checkpoint instead of training: a .safetensors file that a bench wrote, or a "
            "Hub model as ORG/NAME or ORG/NAME@REVISION. It names its method and backbone.",
        ),
    ] = None,
    method_option: Annotated[
        list[str] | None,
        _methods(
            "--method-option",
            "-M",
            metavar="NAME=VALUE",
            help="Option of every method that has it, or of one with METHOD.NAME=VALUE; repeatable.",
        ),
    ] = None,
    data: Annotated[str | None, _rows(hidden=True)] = None,
    split: Annotated[str, _rows(help="Split to measure: test, validation or train.")] = "test",
    domain: Annotated[str | None, _rows(help="Use only this domain, also for training.")] = None,
    shots: Annotated[
        int | None, _rows(metavar="N", min=1, help="Images per category to train on.")
    ] = None,
    limit: Annotated[
        int | None,
        _rows(
            metavar="N", min=2, help="Use only this many images of each split, for a quick trial."
        ),
    ] = None,
    gallery: Annotated[
        str, _rows("--gallery", help="domain, joint, or a number of images per gallery.")
    ] = "domain",
    preset: Annotated[
        Literal["paper"] | None,
        _rows(
            metavar="NAME",
            help="paper: the protocol of DCAR. One model per domain learns from train and validation rows, its last "
            "step is measured on the whole test split, and published numbers are printed beside.",
        ),
    ] = None,
    seeds: Annotated[
        int,
        _training(metavar="N", min=1, max=MOST_SEEDS, help="Number of seeds to run."),
    ] = 1,
    train_option: Annotated[
        list[str] | None,
        _training(
            "--train-option",
            "-T",
            metavar="NAME=VALUE",
            help="Option of the training, e.g. epochs=5, learning_rate=0.002, batch_size=64 or "
            "optimizer=adamw; `fdrd methods training` lists them; repeatable.",
        ),
    ] = None,
    epochs: Annotated[str | None, typer.Option(metavar="N", hidden=True)] = None,
    lr: Annotated[str | None, typer.Option("--lr", metavar="RATE", hidden=True)] = None,
    batch_size: Annotated[str | None, typer.Option(metavar="N", hidden=True)] = None,
    ablate: Annotated[
        str | None,
        _rare(metavar="NAME", help="Run every variant of this method, with and without each part."),
    ] = None,
    train_domain: Annotated[
        str | None,
        _rare(
            metavar="DOMAIN",
            help="Train on this domain instead, or on all (joint training). With --domain: measure transfer.",
        ),
    ] = None,
    categories: Annotated[
        Path | None,
        _rare(
            metavar="FILE",
            help="Base-to-new: a text file with one category per line. Train on these only; measure "
            "them (base) and all others (new), each with its own gallery.",
        ),
    ] = None,
    hard_negatives: Annotated[
        bool,
        _rare(
            "--hard-negatives/--no-hard-negatives",
            help="Measure hard-negative accuracy, which has several times as many captions to encode.",
        ),
    ] = True,
    seed: Annotated[
        int,
        _rare(metavar="N", min=0, max=MOST_SEED, help="Seed of training and of the few-shot draw."),
    ] = 0,
    track: Track = None,
    results: Annotated[
        Path, typer.Option("--results", "-o", metavar="FOLDER", help="Folder of result files.")
    ] = Path("runs"),
    backbone: Backbone = None,
    device: Device = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Train and measure methods; print recalls of image-to-text and text-to-image retrieval.

    Runs with a result file are not repeated, and one training serves all splits, domains and halves that it is
    measured on. Ties count against a method. A method that fails does not stop the others.

    Methods train on all domains together and are measured on each separately. --domain D uses D only.

    Examples:
        fdrd bench data/fdrd zero_shot coop --seeds 3
        fdrd bench data/fdrd --method coop --split validation -M n_ctx=4 -T epochs=5

    Note:
        One parameter per option of the command line, and most are passed on one by one.
    """
    from benchmark.checkpoint_files import find_checkpoint, read_header
    from benchmark.experiments.presets import read_preset
    from benchmark.registry import chosen_methods, distribute, variants_of
    from benchmark.runner.checks import check_runs
    from benchmark.runner.description import Resources, Run
    from benchmark.training.row_selection import limited, read_categories
    from fdrd.options import split_assignments

    quiet_transformers()
    shortcuts = {"epochs": epochs, "learning_rate": lr, "batch_size": batch_size}
    short = [f"{name}={value}" for name, value in shortcuts.items() if value is not None]
    train = split_assignments([*(train_option or ()), *short], "-T")
    assigned = split_assignments(method_option or (), "-M")
    if gallery not in ("domain", "joint") and not gallery.isdigit():
        raise FdrdError(f"--gallery {gallery}: give domain, joint or a number of images")
    size: Any = int(gallery) if gallery.isdigit() else gallery
    load_plugins(plugin)
    header = read_header(find_checkpoint(checkpoint)) if checkpoint else None
    named, method = _data_and_methods([*(dataset or ()), *([data] if data else ())], method or ())
    if preset:
        _refuse_with_preset(context, preset)
        method = method or read_preset(preset).methods
    elif header:
        method = method or [header.method]
    names = list(dict.fromkeys(chosen_methods(method, everything, ablate)))
    name = named or str(default_dataset())
    of_method = distribute(names, assigned)
    rows = {name: limited(name, limit)} if limit else {}
    shared = Run(
        method="",
        data=name,
        backbone=backbone,
        train=dict(train),
        split=split,
        domain=domain,
        train_domain=train_domain,
        categories=read_categories(categories) if categories else None,
        shots=shots,
        gallery=size,
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
        _run_preset(runs, seed_range, results, json, plugins=plugin or (), device=device)
        return

    expected = planned_runs(() if ablate or header else names, seeds)
    tower = backbone or (header.backbone if header else None)
    resources = Resources(
        rows.get(name, name), tower, results, track, device=device, allow_code=backbone is not None
    )
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
    from benchmark.reporting.significance import ablation
    from benchmark.reporting.terminal import significance_table
    from benchmark.runner.runs import evaluate_runs, opened, truncation
    from benchmark.training.row_selection import split_of

    out.quiet, err.quiet = not is_main(), err.quiet or not is_main()  # only one process prints
    shared, results = runs[0], resources.results or Path()
    tower = str(resources.backbone or default_backbone(shared.data))
    methods = expected or list(dict.fromkeys(run.method for run in runs))
    print_plan(shared.data, shared.split, methods, tower, str(chosen_device(resources.device)))
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
        print_report(significance_table(ablation(outcome.results, full)))
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
        raise FdrdError(
            f"several datasets: {', '.join(datasets)}; give one, and methods by their names in `fdrd methods`"
        )
    return next(iter(datasets), None), [*methods, *(e for e in arguments if e not in datasets)]


def _run_preset(
    runs: Sequence[Run],
    seeds: range,
    results: Path,
    json: bool,
    *,
    plugins: Sequence[str],
    device: str | None,
) -> None:
    """Run methods by the paper's protocol, and print the published numbers beside the results."""
    from benchmark.experiments.execution import run_experiment
    from benchmark.experiments.presets import paper_experiment
    from benchmark.reporting.published import PAPER, beside, read_published
    from benchmark.reporting.terminal import rendered
    from benchmark.runner.description import Run

    shared = runs[0]
    plan = paper_experiment(
        shared.data,
        [Run(method=each.method, options=each.options) for each in runs],
        backbone=shared.backbone,
        domain=shared.domain,
        seeds=seeds,
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
