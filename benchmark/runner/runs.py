"""Run a method on a split, or several methods, variants and seeds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from benchmark.checkpoint import CheckpointHeader, find_checkpoint, read_header, save_checkpoint
from benchmark.models import processes
from benchmark.models.backbone import Encoder
from benchmark.peak_memory import reset_peak
from benchmark.registry import chosen_methods, distribute, takes, variants_of
from benchmark.result import BenchResult, read_result, write_result
from benchmark.runner.measurement import measured_queries, measured_result
from benchmark.runner.plan import Plan, check_names, open_backbone, plan_of
from benchmark.runner.request import RunRequest
from benchmark.runner.training import check_common_folder, train
from benchmark.settings import HALVES, check_seed
from benchmark.training.context import TrainContext
from benchmark.training.resumable import resumable
from benchmark.training.row_selection import Data, split_of
from benchmark.training.tracking import tracked
from fdrd.errors import FdrdError

P = ParamSpec("P")
R = TypeVar("R")


def _called_like(
    constructor: Callable[P, Any],
) -> Callable[[Callable[[Any], R]], Callable[P, R]]:
    """Turn a function of one object into a function of the arguments that make the object."""

    def decorate(function: Callable[[Any], R]) -> Callable[P, R]:
        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(constructor(*args, **kwargs))

        called.__signature__ = inspect.signature(constructor)  # type: ignore[attr-defined]
        return called

    return decorate


@_called_like(RunRequest)
def run(request: RunRequest) -> BenchResult:
    """Train a method if it trains, measure it on a split, and write the result file.

    A training that another run in `results` has done (e.g. to measure another split) is not repeated.
    The arguments are the fields of `RunRequest`.

    Raises:
        FdrdError: an option or an input is wrong.
    """
    plan = plan_of(request)
    settings = plan.settings
    if not processes.all_agree(settings.file_name()):
        raise FdrdError(
            "the processes differ in data, backbone or code; give all machines the same ones"
        )
    path = Path(request.results, settings.file_name()) if request.results else None
    partial = path.with_suffix(".partial.safetensors") if path and plan.rows else None
    if path is not None:
        _check_free(path)
        finished = processes.agreed(path.is_file())
        check_common_folder(path.parent, [each.is_file() for each in (path, partial) if each])
        if finished:
            request.progress(f"finished before: {path}", 1, 1)
            return _finished(path, plan)
    tracker = tracked(
        request.log if plan.rows else None,
        settings.file_name().removesuffix(".json"),
        {
            "method": settings.method,
            **settings.options,
            **(vars(settings.train) if settings.train else {}),
        },
    )
    reset_peak(plan.device)
    with resumable(partial, plan.save_features) as saved, tracker as trackers:
        context = TrainContext(request.progress, (*trackers, *request.observers), saved)
        try:
            result = measured_result(plan, train(plan, context))
        finally:
            plan.save_features()
        if path is not None and processes.is_main():
            learner = plan.method.learner
            if plan.rows and learner is not None:
                header = CheckpointHeader.of(settings)
                save_checkpoint(path.with_suffix(".safetensors"), learner, header)
            write_result(result, path)
    return result


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
    """Return the result of a finished run of these settings on these queries.

    Raises:
        FdrdError: the file is invalid, or holds something else under the name of this run.
    """
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


def run_each(
    methods: Sequence[str],
    data: Data,
    *,
    seeds: Iterable[int] = (0,),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **shared: Any,
) -> tuple[list[BenchResult], dict[str, FdrdError]]:
    """Call `run` for several methods and seeds, and with `categories` for both halves.

    Args:
        methods: registered names.
        data: as in `run`.
        seeds: a method without randomness runs once.
        options: by method.
        shared: other fields of `RunRequest`, for all methods.

    Returns:
        The results, and the error of each method that failed. A failure does not stop other methods.
    """
    return _run_each(methods, list(seeds), options or {}, RunRequest("", data, **shared))


def _run_each(
    methods: Sequence[str],
    seeds: Sequence[int],
    options: Mapping[str, Mapping[str, Any]],
    shared: RunRequest,
) -> tuple[list[BenchResult], dict[str, FdrdError]]:
    for seed in seeds:  # before the first run, not when its turn comes
        check_seed(seed)
    found: list[BenchResult] = []
    failed: dict[str, FdrdError] = {}
    for name in dict.fromkeys(methods):
        try:
            for seed in seeds:

                def report(stage: str, done: int, total: int, run: str = f"{name} {seed}") -> None:
                    shared.progress(f"{run}: {stage}", done, total)

                own = replace(
                    shared, method=name, seed=seed, options=options.get(name), progress=report
                )
                for half in HALVES if shared.categories else HALVES[:1]:
                    found.append(run(**vars(replace(own, half=half))))
                if found[-1].settings.seed is None:
                    break  # another seed gives the same numbers
        except FdrdError as error:
            failed[name] = error
    return found, failed


@dataclass(frozen=True)
class BenchOutcome:
    """Results of `run_selected`.

    Attributes:
        results: of all methods, variants and seeds.
        failed: errors by method and variant.
        variants: options by variant, if a method was ablated.
        full: options of the variant that the others are compared with.
        truncated: a sentence on how many captions of the split the encoder truncates.
    """

    results: list[BenchResult] = field(default_factory=list)
    failed: dict[str, FdrdError] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    full: dict[str, Any] = field(default_factory=dict)
    truncated: str = ""


def run_selected(
    methods: Sequence[str],
    data: Data,
    *,
    everything: bool = False,
    ablate: str | None = None,
    options: Mapping[str, Any] | None = None,
    seeds: Iterable[int] = (0,),
    **shared: Any,
) -> BenchOutcome:
    """Run the methods that `fdrd bench` selects, with one backbone for all.

    Args:
        methods: registered names.
        data: as in `run`.
        everything: run every registered method instead.
        ablate: run every variant of this method instead.
        options: of the methods; `maple.depth` applies to one method, `depth` to all that have it.
        seeds: as in `run_each`.
        shared: other fields of `RunRequest`. A `checkpoint` selects its own method and backbone.

    Raises:
        FdrdError: the selection is not unique, an option is wrong, or every run failed.
    """
    asked = RunRequest("", data, **shared)
    named = asked.backbone
    if asked.checkpoint is not None:
        path = find_checkpoint(asked.checkpoint)
        header = read_header(path)
        methods, named = methods or [header.method], named or header.backbone
        asked = replace(asked, checkpoint=path)
    names = chosen_methods(methods, everything, ablate)
    distributed = distribute(names, options or {})
    full = distributed[ablate] if ablate else {}
    outcome = BenchOutcome(variants=variants_of(ablate, full) if ablate else {}, full=full)
    if any(takes(name, "backbone") for name in names):
        # Before the backbone, which may ask the Hub: a wrong split is an error at once.
        measured = split_of(data, asked.split, asked.domain)
        check_names(distributed, named, data)
        tower = open_backbone(
            named,
            data,
            cache=asked.cache,
            device=asked.device,
            allow_code=asked.allow_code and asked.backbone is not None,
        )
        asked = replace(asked, backbone=tower)
        outcome = replace(outcome, truncated=truncation(tower, measured.captions))
    variants = {variant: {names[0]: own} for variant, own in outcome.variants.items()}
    for variant, by_method in (variants or {"": distributed}).items():
        found, failed = _run_each(names, list(seeds), by_method, asked)
        if variant:
            found = [_labeled(each, f"{names[0]}, {variant}", asked.results) for each in found]
        outcome.results.extend(found)
        outcome.failed.update({f"{name} {variant}".rstrip(): e for name, e in failed.items()})
    if not outcome.results:
        raise next(iter(outcome.failed.values()))
    return outcome


def _labeled(result: BenchResult, label: str, results: str | Path | None) -> BenchResult:
    """Return a result whose row in tables has this label, and record that in its file."""
    labeled = replace(result, settings=replace(result.settings, label=label))
    if results is not None and labeled != result and processes.is_main():
        write_result(labeled, Path(results, labeled.settings.file_name()))
    return labeled


def truncation(encoder: Encoder, captions: Sequence[str]) -> str:
    """Return a sentence on the share of captions that an encoder truncates; empty if it is unknown."""
    lengths = encoder.count_tokens(captions)
    if not lengths:
        return ""
    share = sum(length > encoder.context for length in lengths) / len(lengths)
    return (
        f"{100 * share:.1f} % of {len(lengths):,} captions are longer than the {encoder.context} tokens "
        f"of {encoder.name} and were truncated (longest: {max(lengths)} tokens)."
    )
