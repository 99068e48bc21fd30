"""Run a method on a split: train it, or load what an equal training has learned; encode, rank, measure and write.

Also several methods, variants and seeds, and curves for TensorBoard.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Unpack

import torch

from benchmark.checkpoint import load_checkpoint, read_header, save_checkpoint, tensors_digest
from benchmark.evaluation.encoding import encode_split, measure, rank_split
from benchmark.evaluation.hard_negatives import (
    hard_negative_shares,
    hard_negative_wins,
    natural_pair_wins,
    text_only_baseline,
)
from benchmark.models import processes
from benchmark.models.backbone import Backbone, Encoder, Features
from benchmark.rank_metrics import DIRECTIONS, Mask, Share
from benchmark.registry import Observer, TrainContext, chosen_methods, method_options
from benchmark.result import (
    BenchResult,
    FitLog,
    Queries,
    QueryRanks,
    digits,
    read_result,
    write_result,
)
from benchmark.results import Results
from benchmark.runner.description import Resources, Run
from benchmark.runner.plan import Plan, opened, plan_of
from benchmark.settings import (
    HALVES,
    SCHEMA_VERSION,
    Gallery,
    Settings,
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
            result, named = _finished(path, plan), {"label": run.label} if run.label else {}
            result = answering(result, settings.asked, resources.results, **named)
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


@dataclass(frozen=True)
class Trained:
    """Log, seconds and peak memory of a training."""

    fit: FitLog | None = None
    seconds: float = 0.0
    peak_megabytes: float | None = None


def train(plan: Plan, context: TrainContext) -> Trained:
    """Train, or load what was trained before."""
    method, settings, resources = plan.method, plan.settings, plan.resources
    fingerprint = settings.backbone.fingerprint
    if plan.checkpoint is not None and method.learner is not None:
        load_checkpoint(plan.checkpoint, method.learner, fingerprint)
    if not plan.rows:
        return Trained()
    if method.learner is not None and resources.results is not None:
        # The main process decides: by now it has written the files that the others look for.
        folder = resources.results
        progress = resources.progress
        found = processes.agreed(_trained_before(settings, folder, progress) is not None)
        before = _trained_before(settings, folder, progress) if found else None
        check_common_folder(folder, before is not None)
        if before is not None:
            path, result = before
            progress(f"trained before: {path}", 1, 1)
            load_checkpoint(path, method.learner, fingerprint)
            return Trained(result.fit, result.seconds["fit"], result.peak_megabytes)
    started = time.monotonic()
    fit = method.fit(plan.rows["train"], plan.rows["validation"], context)
    spent = sum(epoch.seconds for epoch in fit.epochs)  # includes earlier, interrupted processes
    return Trained(fit, max(time.monotonic() - started, spent))


def check_common_folder(folder: Path, seen: object) -> None:
    """Raise `FdrdError` unless all processes see the same in the folder of results."""
    if not processes.all_agree(seen):
        raise FdrdError(
            f"{folder} differs between the machines; give `results` a folder that all of them share"
        )


def _trained_before(
    settings: Settings, results: Path, progress: Progress
) -> tuple[Path, BenchResult] | None:
    """Return the checkpoint of an equal training and the result next to it, if there is one."""
    training = settings.training()
    unreadable: list[Path] = []
    for path in sorted(results.glob(f"{settings.method}-*.safetensors")):
        try:  # the header first: result files are long
            known = read_header(path)
            if known.settings.training() != training:
                continue
            result = read_result(path.with_suffix(".json"))
        except FdrdError:
            if path.with_suffix(".json").is_file():  # else of an interrupted run
                unreadable.append(path)
            continue
        if result.settings.training() == training and result.learned == known.tensors:
            return path, result
    for path in unreadable:
        progress(f"{path} is from another version, or damaged; training again", 1, 1)
    return None


def measured_result(plan: Plan, training: Trained) -> BenchResult:
    """Encode, rank, compute the metrics, and assemble the result."""
    method, settings, measured = plan.method, plan.settings, plan.measured
    progress = plan.resources.progress
    started = time.monotonic()
    images, texts = encode_split(method, measured, progress)
    encoded = time.monotonic()
    progress("rank", 0, 1)
    ranks = rank_split(method, images, texts, measured, settings.gallery)
    progress("rank", 1, 1)
    shares, won = _hard_negatives(plan, images) if settings.hard_negatives else ({}, [])
    pairs = natural_pair_wins(method.similarity, images, texts, measured)
    metrics = measure(ranks, measured, settings.gallery, shares, pairs)
    done = time.monotonic()
    learned = method.learner.parameters() if method.learner is not None else ()
    peaks = (training.peak_megabytes, peak_megabytes(plan.device))
    return BenchResult(
        schema_version=SCHEMA_VERSION,
        settings=settings,
        learned_parameters=sum(each.numel() for each in learned if each.requires_grad),
        fit=training.fit,
        metrics=metrics,
        queries=measured_queries(plan),
        ranks={
            direction: QueryRanks(_as_text(side.strict), _as_text(side.caption))
            for direction, side in zip(DIRECTIONS, ranks, strict=True)
        },
        seconds={"fit": training.seconds, "encode": encoded - started, "measure": done - encoded},
        versions=_installed_versions(),
        peak_megabytes=max(filter(None, peaks), default=None),
        truncated=_truncated(plan),
        date=datetime.now(UTC).date().isoformat(),
        natural_pairs=pairs,
        negative_wins=" ".join(digits(each) or "-" for each in won) if shares else "",
        learned=tensors_digest(method.learner.state_dict()) if method.learner is not None else None,
    )


def measured_queries(plan: Plan) -> Queries:
    """Return which image each row of the measured split belongs to, and which domain each image."""
    measured = plan.measured
    return Queries(_as_text(measured.pairs[:, 0]), _as_text(measured.image_domain))


def _truncated(plan: Plan) -> float | None:
    """Return the share of captions that the encoder truncates, None if it cannot say."""
    if (encoder := plan.backbone) is None:
        return None
    lengths = encoder.count_tokens(plan.measured.captions)
    return sum(each > encoder.context for each in lengths) / len(lengths) if lengths else None


def _hard_negatives(plan: Plan, images: Features) -> tuple[dict[str, Share], list[Mask]]:
    """Return the accuracy on hard negatives, next to that of the text-only baseline, and which ones are won."""
    progress, measured = plan.resources.progress, plan.measured
    progress("train the text-only baseline", 0, 1)
    text_only = text_only_baseline(measured, plan.baseline_rows)
    progress("train the text-only baseline", 1, 1)
    won = hard_negative_wins(
        plan.method.encode_text, plan.method.similarity, images, measured, progress=progress
    )
    return hard_negative_shares(won, measured.negatives, text_only), won


def _as_text(values: Iterable[int]) -> str:
    return " ".join(map(str, values))


def _installed_versions() -> dict[str, str]:
    """Return the versions that, like the settings, may change the numbers."""
    found = {"python": platform.python_version()}
    for package in ("fdrd", "torch", "transformers", "numpy", "datasets"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout
            found[package] = "not installed"
    return found


def reset_peak(device: str) -> None:
    """Start a new measurement of the peak memory."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes(device: str) -> float | None:
    """Return the peak memory since `reset_peak`, of the accelerator or the whole process; None if unknown."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None


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
