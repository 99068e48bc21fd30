"""Run a method on a split: prepare, train, measure, write the result file.

`RunRequest` is what a user asks for. `_prepare` resolves it to the `Settings` of the result file, which also
name the file and the checkpoint.
"""

from __future__ import annotations

import dataclasses
import inspect
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict, Unpack

from benchmark.checkpoint import (
    CheckpointHeader,
    file_digest,
    find_checkpoint,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from benchmark.evaluation.base_to_new import CategoryList, half_of
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.hard_negatives import hard_negative_shares
from benchmark.evaluation.metrics import measure
from benchmark.evaluation.scoring import make_reranker, scoring_of
from benchmark.evaluation.text_only import text_only_baseline
from benchmark.models import processes
from benchmark.models.backbone import Backbone, Encoder
from benchmark.models.loading import cached_backbone, capabilities, default_backbone
from benchmark.peak_memory import peak_megabytes, reset_peak
from benchmark.registry import (
    Method,
    check_backbone,
    complete_options,
    distribute,
    get_method,
    make_method,
    method_names,
    method_options,
    source_digest,
    takes,
    variants_of,
)
from benchmark.result import (
    DIRECTIONS,
    BenchResult,
    FitLog,
    Queries,
    QueryRanks,
    read_result,
    write_result,
)
from benchmark.settings import (
    HALVES,
    NO_BACKBONE,
    SCHEMA_VERSION,
    Gallery,
    Half,
    Named,
    Settings,
    TrainConfig,
)
from benchmark.training.curves import curves_in
from benchmark.training.resumable import resumable
from benchmark.training.row_selection import (
    Data,
    split_of,
    train_split,
    training_domain,
    training_rows,
)
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.options import read_options
from fdrd.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Options of `run`; `fdrd bench` has one option for each.

    Attributes:
        split: the split to measure.
        backbone: a name for `load_backbone`, or a backbone; by default the one that the checkpoint or the
            dataset's manifest names. A method without backbone ignores the name.
        domain: use only the rows of this domain, in training too.
        train_domain: train on this domain instead, or on `all`.
        categories: train on these categories only.
        half: with `categories`, measure those (`base`) or all others (`new`).
        shots: images per category to train on; validation then has at most 4 per category, as in CoOp.
        seed: of training and of the few-shot draw. Methods without randomness give one result for all seeds.
        gallery: one per domain, one for all domains, or a number of images.
        options: of the method, as values or as text.
        train: fields of `TrainConfig`, as values or as text; ignored if nothing is trained.
        checkpoint: a file or a Hub model to use instead of training.
        results: folder of result files. A finished run is read from there instead of repeated, learned
            tensors are saved beside the result, and an interrupted training resumes.
        log: folder for TensorBoard curves of each training.
        cache: folder of frozen features, else `default_cache()`; ignored if `backbone` is not a name.
        device: `cpu` or `cuda`; ignored if `backbone` is not a name.
        allow_code: the user typed `backbone`, so it may name a function.
        progress: receives each stage.
    """

    split: str = "test"
    backbone: str | Backbone | None = None
    domain: str | None = None
    train_domain: str | None = None
    categories: CategoryList | None = None
    half: Half = "base"
    shots: int | None = None
    seed: int = 0
    gallery: Gallery = "domain"
    options: Mapping[str, Any] | None = None
    train: Mapping[str, Any] | None = None
    checkpoint: str | Path | None = None
    results: str | Path | None = None
    log: str | Path | None = None
    cache: Path | None = None
    device: str | None = None
    allow_code: bool = False
    progress: Progress = silent


class SharedOptions(TypedDict, total=False):
    """The keyword arguments that `run` and `run_each` have in common, see `RunRequest`."""

    split: str
    backbone: str | Backbone | None
    domain: str | None
    train_domain: str | None
    categories: CategoryList | None
    shots: int | None
    gallery: Gallery
    train: Mapping[str, Any] | None
    checkpoint: str | Path | None
    results: str | Path | None
    log: str | Path | None
    cache: Path | None
    device: str | None
    allow_code: bool
    progress: Progress


class RunOptions(SharedOptions, total=False):
    """The keyword arguments of `run`, see `RunRequest`."""

    half: Half
    seed: int
    options: Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class _PreparedRun:
    """A request with everything loaded and checked; the method is not trained yet."""

    request: RunRequest
    settings: Settings
    method: Method
    backbone: Backbone | None
    rows: Mapping[str, RetrievalDataset]
    """training and validation rows; empty if nothing is trained"""
    measured: RetrievalDataset
    baseline_rows: RetrievalDataset | None
    """training rows of the text-only baseline"""
    checkpoint: Path | None

    @property
    def device(self) -> str:
        """Type of the device that the towers are on."""
        return self.backbone.device.type if self.backbone else "cpu"

    def save_features(self) -> None:
        """Write frozen features, so that a resumed training starts from the same ones."""
        tower = self.backbone
        if tower is not None and tower.frozen is not None and processes.is_main():
            tower.frozen.flush()


def run(method: str, data: Data, **options: Unpack[RunOptions]) -> BenchResult:
    """Train a method if it trains, measure it on a split, and write the result file.

    A training that another run in `results` has done (e.g. to measure another split) is not repeated.

    Args:
        method: registered name.
        data: folder, registered name or Hub id; or the splits themselves.
        options: fields of `RunRequest`.

    Raises:
        FdrdError: an option or an input is wrong.
    """
    request = RunRequest(**options)
    prepared = _prepare(method, data, request)
    settings = prepared.settings
    path = Path(request.results, settings.file_name()) if request.results else None
    if path is not None and processes.agreed(path.is_file()):
        request.progress(f"finished before: {path}", 1, 1)
        return read_result(path)
    partial = path.with_suffix(".partial.safetensors") if path and prepared.rows else None
    curves = None
    if request.log and prepared.rows:
        curves = Path(request.log, settings.file_name()).with_suffix("")
    reset_peak(prepared.device)
    with resumable(partial, prepared.save_features), curves_in(curves):
        try:
            trained = _train(prepared)
            result = _measure(prepared, trained)
        finally:
            prepared.save_features()
        if path is not None and processes.is_main():
            learner = prepared.method.learner
            if prepared.rows and learner is not None:
                header = CheckpointHeader.of(settings)
                save_checkpoint(path.with_suffix(".safetensors"), learner, header)
            write_result(result, path)
    return result


def run_each(
    methods: Sequence[str],
    data: Data,
    *,
    seeds: Iterable[int] = (0,),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **shared: Unpack[SharedOptions],
) -> tuple[list[BenchResult], dict[str, FdrdError]]:
    """Call `run` for several methods and seeds, and with `categories` for both halves.

    Args:
        methods: registered names.
        data: as in `run`.
        seeds: a method without randomness runs once.
        options: by method.
        shared: other options of `run`, for all methods.

    Returns:
        The results, and the error of each method that failed. A failure does not stop other methods.
    """
    found: list[BenchResult] = []
    failed: dict[str, FdrdError] = {}
    seeds = list(seeds)
    progress = shared.get("progress", silent)
    for name in dict.fromkeys(methods):
        try:
            for seed in seeds:

                def report(stage: str, done: int, total: int, run: str = f"{name} {seed}") -> None:
                    progress(f"{run}: {stage}", done, total)

                for half in HALVES if shared.get("categories") else HALVES[:1]:
                    each: RunOptions = {
                        **shared,
                        "seed": seed,
                        "half": half,
                        "options": (options or {}).get(name),
                        "progress": report,
                    }
                    found.append(run(name, data, **each))
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
        truncated: how many captions of the split the encoder truncates, in words.
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
    **shared: Unpack[SharedOptions],
) -> BenchOutcome:
    """Run the methods that `fdrd bench` selects, with one backbone for all.

    Args:
        methods: registered names.
        data: as in `run`.
        everything: run every registered method instead.
        ablate: run every variant of this method instead.
        options: of the methods; `maple.depth` applies to one method, `depth` to all that have it.
        seeds: as in `run_each`.
        shared: other options of `run`. A `checkpoint` selects its own method and backbone.

    Raises:
        FdrdError: the selection is not unique, an option is wrong, or every run failed.
    """
    header = None
    if (checkpoint := shared.get("checkpoint")) is not None:
        path = shared["checkpoint"] = find_checkpoint(checkpoint)
        header = read_header(path)
        methods = methods or [header.method]
    if sum((bool(methods), everything, ablate is not None)) != 1:
        raise FdrdError(
            "give either --method NAME, or --all, or --ablate NAME; `fdrd methods` lists the names"
        )
    names = [ablate] if ablate else method_names() if everything else list(methods)
    for name in names:
        get_method(name)
    distributed = distribute(names, options or {})
    full = distributed[ablate] if ablate else {}
    outcome = BenchOutcome(variants=variants_of(ablate, full) if ablate else {}, full=full)
    if any(takes(name, "backbone") for name in names):
        # Before the backbone, which may ask the Hub: a wrong split is an error at once.
        measured = split_of(data, shared.get("split", "test"), shared.get("domain"))
        given = shared.get("backbone")
        check_names(distributed, given or (header.backbone if header else None), data)
        shared["backbone"] = open_backbone(
            given or (header.backbone if header else None),
            data,
            cache=shared.get("cache"),
            device=shared.get("device"),
            allow_code=shared.get("allow_code", False) and given is not None,
        )
    variants = {variant: {names[0]: own} for variant, own in outcome.variants.items()}
    for variant, by_method in (variants or {"": distributed}).items():
        found, failed = run_each(names, data, seeds=seeds, options=by_method, **shared)
        outcome.results.extend(found)
        outcome.failed.update({f"{name} {variant}".rstrip(): e for name, e in failed.items()})
    tower = shared.get("backbone")
    if tower is not None and not isinstance(tower, str):
        outcome = dataclasses.replace(outcome, truncated=truncation(tower, measured.captions))
    if not outcome.results:
        raise next(iter(outcome.failed.values()))
    return outcome


def _prepare(name: str, data: Data, request: RunRequest) -> _PreparedRun:
    """Resolve a request. Whatever can fail without training or encoding fails here."""
    request, checkpoint = _with_checkpoint(name, request)
    tower = None
    if takes(name, "backbone"):
        check_names({name: request.options or {}}, request.backbone, data)
    if takes(name, "backbone") or not isinstance(request.backbone, str | None):
        tower = open_backbone(
            request.backbone,
            data,
            cache=request.cache,
            device=request.device,
            allow_code=request.allow_code,
        )
    given = read_options(method_options(name), request.options or {}, name)
    if tower is not None:
        check_backbone(name, given, tower.can, tower.name)
    config = None
    if takes(name, "train"):
        default: TrainConfig = inspect.signature(get_method(name)).parameters["train"].default
        config = default.changed(request.train or {})
    method = make_method(name, given, backbone=tower, train=config, seed=request.seed)
    if checkpoint is not None and method.learner is None:
        raise FdrdError(f"{name} learns nothing, so it has no checkpoints; leave out --checkpoint")
    trains = method.trains != "nothing" and checkpoint is None
    domain, categories, shots = request.domain, request.categories, request.shots
    source = training_domain(domain, request.train_domain)
    rows = training_rows(data, source, shots, request.seed, categories) if trains else {}
    measured = split_of(data, request.split, domain)
    if categories is not None:  # both halves, so that an empty one fails before training
        measured = {half: half_of(measured, categories, half) for half in HALVES}[request.half]
    scoring = scoring_of(method)
    make_reranker(measured, scoring, name)  # fails before training if there are too many pairs
    baseline_rows = train_split(data, domain) if any(measured.negatives) else None
    random = takes(name, "seed") or (trains and shots is not None)
    settings = Settings(
        method=name,
        code=source_digest(name),
        options=complete_options(name, given),
        options_given=given,
        train=config if trains else None,
        train_given=dict(request.train or {}) if trains else {},
        seed=request.seed if random and checkpoint is None else None,
        split=measured.split,  # type: ignore[arg-type]  # `load` accepts these splits only
        domain=domain,
        train_domain=request.train_domain if trains and source != domain else None,
        categories=Named(categories.name, categories.fingerprint) if categories else None,
        half=request.half if categories else None,
        shots=shots if trains else None,
        gallery=request.gallery,
        data=Named(measured.name, measured.fingerprint),
        backbone=Named(tower.name, tower.fingerprint) if tower else NO_BACKBONE,
        learned_from={split: each.fingerprint for split, each in rows.items()},
        checkpoint=file_digest(checkpoint) if checkpoint else None,
        blind_from=baseline_rows.fingerprint if baseline_rows else None,
        remarks=dict(scoring.remarks),
    )
    return _PreparedRun(request, settings, method, tower, rows, measured, baseline_rows, checkpoint)


def _with_checkpoint(name: str, request: RunRequest) -> tuple[RunRequest, Path | None]:
    """Take the options and the backbone from the checkpoint, if one is given."""
    if request.checkpoint is None:
        return request, None
    if request.options or request.train:
        raise FdrdError(f"{request.checkpoint} contains its options; leave out -M and -T")
    path = find_checkpoint(request.checkpoint)
    header = read_header(path)
    if header.method != name:
        raise FdrdError(f"{path} belongs to {header.method}; give --method {header.method}")
    request = dataclasses.replace(request, options=header.options)
    if request.backbone is None:
        request = dataclasses.replace(request, backbone=header.backbone, allow_code=False)
    return request, path


@dataclass(frozen=True)
class _Training:
    """Log, seconds and peak memory of a training."""

    fit: FitLog | None = None
    seconds: float = 0.0
    peak_megabytes: float | None = None


def _train(prepared: _PreparedRun) -> _Training:
    """Train, or load what was trained before."""
    method, settings, request = prepared.method, prepared.settings, prepared.request
    fingerprint = settings.backbone.fingerprint
    if prepared.checkpoint is not None and method.learner is not None:
        load_checkpoint(prepared.checkpoint, method.learner, fingerprint)
    if not prepared.rows:
        return _Training()
    if method.learner is not None and request.results is not None:
        # The main process decides: by now it has written the files that the others look for.
        folder = Path(request.results)
        found = processes.agreed(_trained_before(settings, folder) is not None)
        before = _trained_before(settings, folder) if found else None
        if before is not None:
            path, result = before
            request.progress(f"trained before: {path}", 1, 1)
            load_checkpoint(path, method.learner, fingerprint)
            return _Training(result.fit, result.seconds["fit"], result.peak_megabytes)
    started = time.monotonic()
    fit = method.fit(prepared.rows["train"], prepared.rows["validation"], request.progress)
    spent = sum(epoch.seconds for epoch in fit.epochs)  # includes earlier, interrupted processes
    return _Training(fit, max(time.monotonic() - started, spent))


def _trained_before(settings: Settings, results: Path) -> tuple[Path, BenchResult] | None:
    """Return the checkpoint of an equal training and the result beside it, if there is one."""
    wanted = dataclasses.replace(CheckpointHeader.of(settings), backbone="")
    for path in sorted(results.glob(f"{settings.method}-*.safetensors")):
        try:  # the header first: result files are long
            if dataclasses.replace(read_header(path), backbone="") != wanted:
                continue
            result = read_result(path.with_suffix(".json"))
        except FdrdError:  # an interrupted run, or another version's file
            continue
        other = result.settings
        if (other.code, other.learned_from) == (settings.code, settings.learned_from):
            return path, result
    return None


def _measure(prepared: _PreparedRun, training: _Training) -> BenchResult:
    """Encode, rank, compute the metrics, and assemble the result."""
    method, settings, measured = prepared.method, prepared.settings, prepared.measured
    progress = prepared.request.progress
    started = time.monotonic()
    scoring = scoring_of(method)
    images, texts = encode_split(method, measured, progress, scoring.leak)
    encoded = time.monotonic()
    progress("rank", 0, 1)
    reranker = make_reranker(measured, scoring, settings.method, progress)
    ranks = rank_split(method, images, texts, measured, settings.gallery, reranker)
    progress("rank", 1, 1)
    progress("train the text-only baseline", 0, 1)
    text_only = text_only_baseline(measured, prepared.baseline_rows)
    progress("train the text-only baseline", 1, 1)
    shares = hard_negative_shares(
        method.encode_text, method.similarity, images, measured,
        text_only=text_only, reranker=reranker, progress=progress,
    )  # fmt: skip
    metrics = measure(ranks, measured, settings.gallery, shares)
    done = time.monotonic()
    learned = method.learner.parameters() if method.learner is not None else ()
    peaks = (training.peak_megabytes, peak_megabytes(prepared.device))
    return BenchResult(
        schema_version=SCHEMA_VERSION,
        settings=settings,
        learned_parameters=sum(each.numel() for each in learned if each.requires_grad),
        fit=training.fit,
        metrics=metrics,
        queries=Queries(_as_text(measured.pairs[:, 0]), _as_text(measured.image_domain)),
        ranks={
            direction: QueryRanks(_as_text(side.strict), _as_text(side.caption))
            for direction, side in zip(DIRECTIONS, ranks, strict=True)
        },
        seconds={"fit": training.seconds, "encode": encoded - started, "measure": done - encoded},
        versions=_installed_versions(),
        peak_megabytes=max(filter(None, peaks), default=None),
    )


def open_backbone(
    backbone: str | Backbone | None,
    data: Data,
    *,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
) -> Backbone:
    """Return the given or named backbone, or the one that the dataset names, with its frozen features.

    Pass the same backbone to several runs to read its weights once.
    """
    if backbone is None:
        if isinstance(data, Mapping):
            raise FdrdError("splits do not name a backbone; give one")
        backbone, allow_code = default_backbone(data), False
    return cached_backbone(backbone, cache=cache, device=device, allow_code=allow_code)


def truncation(encoder: Encoder, captions: Sequence[str]) -> str:
    """Return the share of captions that an encoder truncates, in words; empty if it is unknown."""
    lengths = encoder.count_tokens(captions)
    if not lengths:
        return ""
    share = sum(length > encoder.context for length in lengths) / len(lengths)
    return (
        f"{100 * share:.1f} % of {len(lengths):,} captions are longer than the {encoder.context} tokens "
        f"of {encoder.name} and were truncated (longest: {max(lengths)} tokens)."
    )


def check_names(
    methods: Mapping[str, Mapping[str, Any]], backbone: str | Backbone | None, data: Data
) -> None:
    """Refuse methods of which none works on a backbone, before its weights are loaded.

    Raises:
        FdrdError: none works; the message lists the methods that do.
    """
    if backbone is None and not isinstance(data, Mapping):
        backbone = default_backbone(data)
    if not isinstance(backbone, str) or (can := capabilities(backbone)) is None:
        return
    errors = []
    for name, options in methods.items():
        given = read_options(method_options(name), options, name)
        try:
            check_backbone(name, given, can, backbone)
        except FdrdError as error:
            errors.append(error)
    if errors and len(errors) == len(methods):
        raise errors[0]


def _as_text(values: Iterable[int]) -> str:
    return " ".join(map(str, values))


def _installed_versions() -> dict[str, str]:
    """Return the versions that numbers may depend on besides the settings."""
    found = {"python": platform.python_version()}
    for package in ("fdrd", "torch", "transformers", "numpy", "datasets"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout
            found[package] = "not installed"
    return found
