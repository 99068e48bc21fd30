"""Run a method on a split, or several methods, variants and seeds, and write curves for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from benchmark.checkpoint import save_checkpoint
from benchmark.models import processes
from benchmark.models.backbone import Backbone, Encoder
from benchmark.registry import Observer, TrainContext, chosen_methods, method_options
from benchmark.result import BenchResult, read_result, write_result
from benchmark.results import Results
from benchmark.runner.description import Resources, Run
from benchmark.runner.measurement import (
    check_common_folder,
    measured_queries,
    measured_result,
    reset_peak,
    train,
)
from benchmark.runner.plan import Plan, opened, plan_of
from benchmark.settings import (
    HALVES,
    Gallery,
    TrainConfig,
    TrainOptions,
    check_seed,
    training_options,
)
from benchmark.training.resumable import resumable
from benchmark.training.row_selection import CategoryList, Data
from fdrd.errors import FdrdError
from fdrd.options import read_options, shows_keywords
from fdrd.progress import FINISHED, Progress, silent

OneMethod = str | tuple[str, Mapping[str, Any]]
Methods = OneMethod | Sequence[OneMethod]
"""Names of methods, or pairs of a name and options."""


def execute(run: Run, resources: Resources) -> BenchResult:
    """Train, measure and write the result file, or read what an equal run has written."""
    plan = plan_of(run, resources)
    settings = plan.settings
    if not processes.all_agree(settings.file_name()):
        raise FdrdError(
            "the processes differ in data, backbone or code; give all machines the same ones"
        )
    path = resources.results / settings.file_name() if resources.results else None
    partial = path.with_suffix(".partial.safetensors") if path and plan.rows else None
    if path is not None:
        _check_free(path)
        finished = processes.agreed(path.is_file())
        check_common_folder(path.parent, [each.is_file() for each in (path, partial) if each])
        if finished:
            result = answering(_finished(path, plan), settings.asked, resources.results)
            resources.progress(f"{FINISHED} | {summary(result)}, from {path}", 1, 1)
            return result
    run_name = settings.file_name().removesuffix(".json")
    tracker = tracked(resources.log if plan.rows else None, run_name)
    reset_peak(plan.device)
    with resumable(partial, plan.save_features) as saved, tracker as trackers:
        context = TrainContext(resources.progress, (*trackers, *resources.observers), saved)
        try:
            result = measured_result(plan, train(plan, context))
        finally:
            plan.save_features()
        if path is not None and processes.is_main():
            learner = plan.method.learner
            if plan.rows and learner is not None:
                save_checkpoint(path.with_suffix(".safetensors"), learner, settings)
            write_result(result, path)
    resources.progress(f"{FINISHED} | {summary(result)}", 1, 1)
    return result


@contextmanager
def tracked(folder: str | Path | None, run: str) -> Iterator[tuple[Observer, ...]]:
    """Give the observer that writes curves, none without a folder; a resumed training continues them.

    Another tracker is an observer of a `TrainContext`.

    Args:
        folder: folder of TensorBoard, which `tensorboard:` may precede, or None.
        run: name of the run.

    Raises:
        FdrdError: TensorBoard is not installed, or the folder is a name of another tracker.
    """
    if folder is None or not processes.is_main():
        yield ()
        return
    path = str(folder).removeprefix("tensorboard:")
    if path.startswith(("trackio:", "wandb:")):
        raise FdrdError(f"--track {path}: curves are written for TensorBoard; give a folder")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise FdrdError(
            f"`track` needs tensorboard ({error}); pip install 'fdrd[tensorboard]'"
        ) from error
    with SummaryWriter(str(Path(path, run))) as writer:
        yield (lambda curve, step, value: writer.add_scalar(curve, value, step),)


def summary(result: BenchResult) -> str:
    """Return method, seed, MRR, steps and seconds on one line."""
    seed, steps = result.settings.seed, result.fit.steps if result.fit else 0
    parts = [
        result.settings.method + ("" if seed is None else f", seed {seed}"),
        f"MRR {100 * result.mrr:.1f}",
        *([f"{steps:,} steps"] if steps else []),
        f"{sum(result.seconds.values()):,.0f} s",
    ]
    return f"{parts[0]}: {', '.join(parts[1:])}"


def _check_free(path: Path) -> None:
    """Raise `FdrdError` if a result, its checkpoint or its training state cannot be written here."""
    if path.parent.exists() and not path.parent.is_dir():
        raise FdrdError(f"{path.parent} is not a folder; give `results` a folder")
    for suffix in (".json", ".safetensors", ".partial.safetensors"):
        if path.with_suffix(suffix).is_dir():
            raise FdrdError(
                f"{path.with_suffix(suffix)} is a folder, where this run writes a file; "
                f"move it away, or give another `results`"
            )


def _finished(path: Path, plan: Plan) -> BenchResult:
    """Return the result of a finished run of these settings on these queries."""
    result = read_result(path)
    different = plan.settings.different(result.settings)
    if not different and result.queries != measured_queries(plan):
        different = ["queries"]
    if different:
        raise FdrdError(
            f"{path} is not the result of this run (different {', '.join(different)}); "
            f"delete it to run again"
        )
    return result


def answering(
    result: BenchResult, asked: Sequence[str], results: Path | None, **settings: Any
) -> BenchResult:
    """Return a result that answers these runs, too, and record it in its file."""
    known = dict.fromkeys([*result.settings.asked, *asked])
    changed = replace(result, settings=replace(result.settings, asked=[*known], **settings))
    if results is not None and changed != result and processes.is_main():
        write_result(changed, results / changed.settings.file_name())
    return changed


@shows_keywords(TrainOptions, TrainConfig)
def evaluate(
    methods: Methods,
    data: Data,
    *,
    split: str = "test",
    backbone: str | Backbone | None = None,
    domain: str | None = None,
    train_domain: str | None = None,
    categories: CategoryList | None = None,
    shots: int | None = None,
    seeds: int | Iterable[int] = 1,
    gallery: Gallery = "domain",
    hard_negatives: bool = True,
    checkpoint: str | Path | None = None,
    results: str | Path | None = None,
    log: str | Path | None = None,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
    progress: Progress = silent,
    observers: Sequence[Observer] = (),
    **train: Unpack[TrainOptions],
) -> Results:
    """Train and measure methods with several seeds, and with `categories` on both halves.

        res = benchmark.evaluate(["zero_shot", ("coop", {"n_ctx": 4})], ds, shots=16, seeds=3, epochs=5)

    The weights of the backbone are read once. A method that fails does not stop the others. A training that another
    run in `results` has done (e.g. to measure another split) is not repeated.

    Args:
        methods: names, or pairs of a name and the options of the method.
        data: a dataset (a path, a name or a `fdrd.Dataset`), or its splits by name.
        split: split to measure.
        backbone: a name for `load_backbone`, or a backbone; by default the one that the checkpoint or the dataset's
            manifest names. A method without backbone ignores it.
        domain: use only the rows of this domain, also for training.
        train_domain: train on this domain instead, or on `all`.
        categories: base categories, the only ones to train on.
        shots: images per category to train on; validation then has at most 4 per category, as in CoOp.
        seeds: number of seeds from 0, or the seeds. A method without randomness runs once.
        gallery: one per domain, one for all domains, or a number of images.
        hard_negatives: measure the accuracy on hard negatives. This encodes each of them, several times as many
            captions as the ranking does, and trains a text-only baseline.
        checkpoint: a file or a Hub model to use instead of training.
        results: folder of result files and checkpoints; finished runs are read from there, and an interrupted training
            resumes.
        log: folder for the curves of each training run, for TensorBoard.
        cache: folder of frozen features, else `default_cache()`; ignored if `backbone` is not a name.
        device: `cpu` or `cuda`; ignored if `backbone` is not a name.
        allow_code: the user typed `backbone`, so it may name a function.
        progress: receives each stage.
        observers: receive the points of the training's curves, besides `log`; one may raise to stop the training.
        train: fields of `TrainConfig`, e.g. `epochs` or `lr`; ignored by methods that train nothing.

    Raises:
        FdrdError: an option or an input is wrong, or every method failed.

    Note:
        One parameter for each thing that a run can be told.
    """
    single = isinstance(methods, str) or isinstance(methods[-1], Mapping)
    listed: Any = [methods] if single else methods
    pairs = [(each, {}) if isinstance(each, str) else each for each in listed]
    chosen_methods([name for name, _ in pairs])
    shared = Run(
        method="",
        split=split,
        domain=domain,
        train_domain=train_domain,
        categories=categories,
        shots=shots,
        gallery=gallery,
        hard_negatives=hard_negatives,
        checkpoint=None if checkpoint is None else os.fspath(checkpoint),
        train=training_options(train),
    )
    runs: list[Run] = []
    for name, values in pairs:
        options = read_options(method_options(name), values, name)
        if (run := shared.changed(method=name, options=options)) not in runs:
            runs.append(run)
    folder = None if results is None else Path(results)
    access = (cache, device, allow_code, progress, (*observers,))
    resources = Resources(data, backbone, folder, log, *access)
    return evaluate_runs(runs, seeds, opened(runs, resources))


def evaluate_runs(runs: Iterable[Run], seeds: int | Iterable[int], resources: Resources) -> Results:
    """Execute runs with several seeds, and with categories for both halves.

    Raises:
        FdrdError: every run failed; the first error.
    """
    seeds = range(seeds) if isinstance(seeds, int) else list(seeds)
    for seed in seeds:  # before the first run, not when its turn comes
        check_seed(seed)
    found: list[BenchResult] = []
    failed: dict[str, FdrdError] = {}

    def execute_run(run: Run) -> BenchResult:
        def report(stage: str, done: int, total: int) -> None:
            resources.progress(f"{run.method} seed {run.seed}: {stage}", done, total)

        return execute(run, replace(resources, progress=report))

    for run in runs:
        try:
            for seed in seeds:
                for half in HALVES if run.categories else HALVES[:1]:
                    found.append(execute_run(run.changed(seed=seed, half=half)))
                if found[-1].settings.seed is None:
                    break  # another seed gives the same numbers
        except FdrdError as error:
            failed[run.row] = error
    if failed and not found:
        raise next(iter(failed.values()))
    return Results(found, failed, resources.results)


def truncation(encoder: Encoder, captions: Sequence[str]) -> str:
    """Return a sentence on the captions that an encoder truncates; empty if there are none, or it is unknown."""
    lengths = encoder.count_tokens(captions)
    over = sum(length > encoder.context for length in lengths)
    if not over:
        return ""
    longer = f"longer than the {encoder.context} tokens of {encoder.name} and were truncated"
    return f"{over:,} of {len(lengths):,} captions are {longer} (longest: {max(lengths)} tokens)."
