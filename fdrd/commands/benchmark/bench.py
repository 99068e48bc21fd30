"""`fdrd bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fdrd.commands.benchmark import bench_options as of
from fdrd.commands.benchmark.paper_run import raise_failed, run_paper
from fdrd.commands.benchmark.run_clock import planned_runs, print_plan, with_time_left
from fdrd.commands.console import (
    app,
    err,
    out,
    print_hint,
    print_json,
    print_report,
    quiet_transformers,
    show_progress,
)
from fdrd.commands.options import Backbone, Device, Json, Plugins, load_plugins
from fdrd.errors import FdrdError


@app.command(
    epilog="Example:  fdrd bench data/fdrd --method zero_shot --method coop --split test --seeds 3"
)
def bench(
    dataset: of.Dataset = None,
    method: of.Methods = None,
    everything: of.Everything = False,
    ablate: of.Ablate = None,
    checkpoint: of.Checkpoint = None,
    method_option: of.MethodOptions = None,
    data: of.Data = None,
    split: of.Split = "test",
    domain: of.Domain = None,
    train_domain: of.TrainDomain = None,
    categories: of.Categories = None,
    shots: of.Shots = None,
    limit: of.Limit = None,
    gallery: of.GalleryOption = "domain",
    hard_negatives: of.HardNegatives = True,
    preset: of.Preset = None,
    epochs: of.Epochs = None,
    lr: of.LearningRate = None,
    batch_size: of.BatchSize = None,
    seed: of.Seed = 0,
    seeds: of.Seeds = 1,
    train_option: of.TrainOptions = None,
    log: of.Log = None,
    results: of.Results = Path("runs"),
    backbone: Backbone = None,
    device: Device = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Train and measure methods; print recalls of image-to-text and text-to-image retrieval.

    Runs with a result file are not repeated, and one training serves all splits, domains and halves that
    it is measured on. Ties count against a method. A method that fails does not stop the others.

    Methods train on all domains together and are measured on each separately. --domain D uses D alone,
    --train-domain D trains on D and measures all, and both together measure transfer.

    Note:
        One parameter per option of the command line, and most are passed on one by one.
    """
    from benchmark.registry import chosen_methods
    from fdrd.options import split_assignments

    quiet_transformers()
    shortcuts = {"epochs": epochs, "learning_rate": lr, "batch_size": batch_size}
    short = [f"{name}={value}" for name, value in shortcuts.items() if value is not None]
    train = split_assignments([*(train_option or ()), *short], "-T")
    options = split_assignments(method_option or (), "-M")
    size = _gallery(gallery)
    load_plugins(plugin)
    names = [] if checkpoint else chosen_methods(method or (), everything, ablate)
    name = _checked_name(dataset, data, split, train)
    if preset:
        _refuse_with_preset(preset, {
            "--all": everything, "--ablate": ablate, "--checkpoint": checkpoint, "--shots": shots,
            "--train-domain": train_domain, "--categories": categories, "--limit": limit, "--log": log,
            "--split": split != "test", "--gallery": gallery != "domain",
            "--no-hard-negatives": not hard_negatives,
        })  # fmt: skip
        outcome = run_paper(
            name, method or ("zero_shot",), {"-M": options, "-T": train}, domain=domain,
            seeds=range(seed, seed + seeds), backbone=backbone, results=results,
            plugins=plugin or (), device=device,
        )  # fmt: skip
        return _print(outcome, "", None, results, json)

    from benchmark.evaluation.base_to_new import read_categories
    from benchmark.models.loading import default_backbone
    from benchmark.models.processes import chosen_device, is_main
    from benchmark.runner import run_selected
    from benchmark.training.row_selection import limited

    out.quiet, err.quiet = not is_main(), err.quiet or not is_main()  # only one process prints
    runs = planned_runs(() if ablate else names or method or (), seeds)
    named = backbone or (checkpoint and f"the backbone of {checkpoint}") or default_backbone(name)
    print_plan(name, split, runs or [ablate or "the checkpoint"], named, str(chosen_device(device)))
    with show_progress(
        f"Finished runs and unfinished training are saved in {results}; the same command continues."
    ) as progress:
        outcome = run_selected(
            method or (), limited(name, limit) if limit else name, everything=everything,
            ablate=ablate, options=options, seeds=range(seed, seed + seeds), split=split,
            backbone=named if limit and not checkpoint else backbone, domain=domain,
            train_domain=train_domain, categories=read_categories(categories) if categories else None,
            shots=shots, gallery=size, hard_negatives=hard_negatives, train=train, checkpoint=checkpoint,
            results=results, log=log, device=device, allow_code=backbone is not None,
            progress=with_time_left(progress, len(runs)),
        )  # fmt: skip
    _print(outcome, outcome.truncated, ablate, results, json)


def _checked_name(dataset: str | None, data: str | None, split: str, train: dict[str, str]) -> str:
    """Return the dataset, after finding mistakes that need no torch."""
    from benchmark.settings import TrainConfig
    from fdrd.dataset import load_rows
    from fdrd.files.cache import last_build
    from fdrd.options import options_of, read_options

    if dataset and data:
        raise FdrdError("the dataset is given twice; remove --data")
    name = str(dataset or data or last_build())
    read_options(options_of(TrainConfig), train, "training")
    load_rows(name, split=split)
    load_rows(name)  # a run may need the other splits, too
    return name


def _refuse_with_preset(preset: str, others: dict[str, Any]) -> None:
    if refused := [flag for flag, value in others.items() if value]:
        raise FdrdError(f"--preset {preset} decides this; leave out {' and '.join(refused)}")


def _print(outcome: Any, note: str, ablate: str | None, results: Path, json: bool) -> None:
    """Print the results, and raise the errors of the methods that failed."""
    from benchmark.reporting.significance import ablation
    from benchmark.reporting.terminal import significance_table, table
    from benchmark.result import to_json

    if json:
        print_json([to_json(result) for result in outcome.results])
    else:
        print_report(table(outcome.results))
        if note:
            out.print(note)
        if ablate:
            print_report(significance_table(ablation(outcome.results, outcome.full)))
        print_hint(f"Next:  fdrd report {results}        fdrd compare {results}")
    raise_failed(outcome)


def _gallery(given: str) -> Any:
    if given in ("domain", "joint"):
        return given
    if not given.isdigit():
        raise FdrdError(f"--gallery {given}: give domain, joint or a number of images")
    return int(given)
