"""One run: a method on a split, from data and backbone to the result file."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.checkpoint import (
    CheckpointHeader,
    file_digest,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from benchmark.evaluation.base_to_new import HALVES, CategoryList, Half, half_of
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.galleries import Gallery
from benchmark.evaluation.hard_negatives import hard_negative_shares
from benchmark.evaluation.metrics import measure
from benchmark.evaluation.scoring import again_on, scoring_of
from benchmark.evaluation.text_only import text_only_baseline
from benchmark.models import processes
from benchmark.models.backbone import Backbone
from benchmark.models.clip import CLIPBackbone
from benchmark.models.loading import cached_backbone, default_backbone
from benchmark.registry import (
    FitLog,
    Method,
    get_method,
    make_method,
    method_options,
    source_digest,
    takes,
)
from benchmark.result import (
    NO_BACKBONE,
    SCHEMA_VERSION,
    BenchResult,
    Named,
    Settings,
    file_name,
    installed_versions,
    queries_of,
    ranks_as_text,
    read_result,
    write_result,
)
from benchmark.trained import find_checkpoint
from benchmark.training.curves import curves_in
from benchmark.training.loop import TrainConfig
from benchmark.training.resumable import resumable
from benchmark.training.row_selection import (
    Data,
    learning_domain,
    learning_rows,
    split_of,
    train_split,
)
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.options import options_of, read_options
from fdrd.progress import Progress, silent


def run(
    method: str,
    data: Data,
    *,
    split: str = "test",
    backbone: str | Backbone | None = None,
    domain: str | None = None,
    train_domain: str | None = None,
    categories: CategoryList | None = None,
    half: Half = "base",
    shots: int | None = None,
    seed: int = 0,
    gallery: Gallery = "domain",
    options: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    results: Path | None = None,
    log: Path | None = None,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
    progress: Progress = silent,
) -> BenchResult:
    """Train a method where it trains, encode a split, measure, and write the result.

    A training that another run in `results` has done (to measure another split, say) is not done again.

    Args:
        method: registered name.
        data: folder, registered name or Hub id; or the splits themselves.
        split: what is measured.
        backbone: what `load_backbone` takes, or a backbone; else the one that the checkpoint or
            the manifest names.
            A name is not even looked at for a method that asks for no backbone.
        domain: only the rows of this domain, in training too.
        train_domain: learn from this domain instead, or from `all`.
        categories: learn from these only.
        half: where `categories` are given, what is measured: those, or all others.
        shots: images per category to learn from (and at most 4 to choose the epoch by, as in CoOp).
        seed: of training and few-shot draw; methods that use none give one result for all seeds.
        gallery: per domain, one for all domains, or of so many images.
        options: of the method, as values or as text.
        train: fields of `TrainConfig`, as values or as text; no matter where nothing is trained.
        checkpoint: learned tensors to use instead of training, as a file or a model of the Hub.
        results: folder that holds the result files; a finished one is returned without a run, and
            what was learned is written beside it. A training that was killed goes on from there.
        log: folder for TensorBoard, where each training draws its curves.
        cache: of frozen features, else `default_cache()`; ignored where `backbone` is no name.
        device: `cpu`, `cuda`; ignored where `backbone` is no name.
        allow_code: `backbone` comes from the user, so it may name a function.
        progress: told about each stage.

    Raises:
        FdrdError: something that the user can put right.
    """
    if checkpoint is not None:
        if options or train:
            raise FdrdError(f"{checkpoint} holds its options; leave out -M and -T")
        checkpoint = find_checkpoint(checkpoint)
        header = read_header(checkpoint)
        if header.method != method:
            raise FdrdError(
                f"{checkpoint} belongs to {header.method}; give --method {header.method}"
            )
        options = header.options
        if backbone is None:
            backbone, allow_code = header.backbone, False
    tower = None
    if takes(method, "backbone") or not isinstance(backbone, str | None):
        tower = open_backbone(backbone, data, cache=cache, device=device, allow_code=allow_code)
    given = read_options(method_options(method), options or {}, method)
    config = _train_config(method, train or {}) if takes(method, "train") else None
    chosen = make_method(method, given, backbone=tower, train=config, seed=seed)
    if checkpoint is not None and chosen.learner is None:
        raise FdrdError(
            f"{method} learns nothing, so it has no checkpoints; leave out --checkpoint"
        )
    learns = chosen.trains != "nothing" and checkpoint is None
    source = learning_domain(domain, train_domain)
    rows = learning_rows(data, source, shots, seed, categories) if learns else {}
    measured = split_of(data, split, domain)
    if categories is not None:  # both, so that an empty one is not found after a training
        measured = {each: half_of(measured, categories, each) for each in HALVES}[half]
    scoring = scoring_of(chosen)
    again_on(measured, scoring, method)  # refuses what costs too much, before a training
    read_blind = train_split(data, domain) if any(measured.negatives) else None
    drawn = takes(method, "seed") or (learns and shots is not None)
    settings = Settings(
        method=method,
        code=source_digest(method),
        options={key: given.get(key, o.default) for key, o in method_options(method).items()},
        options_given=given,
        train=dataclasses.asdict(config) if config and learns else None,
        train_given=dict(train or {}) if learns else {},
        seed=seed if drawn and checkpoint is None else None,
        split=split,
        domain=domain,
        train_domain=train_domain if learns and source != domain else None,
        categories=Named(categories.name, categories.fingerprint) if categories else None,
        half=half if categories else None,
        shots=shots if learns else None,
        gallery=gallery,
        data=Named(measured.name, measured.fingerprint),
        backbone=Named(tower.name, tower.fingerprint) if tower else NO_BACKBONE,
        learned_from={name: each.fingerprint for name, each in rows.items()},
        checkpoint=file_digest(checkpoint) if checkpoint else None,
        blind_from=read_blind.fingerprint if read_blind else None,
        remarks=dict(scoring.remarks),
    )
    path = results / file_name(settings) if results else None
    if path is not None and processes.agreed(path.is_file()):
        progress(f"finished before: {path}", 1, 1)
        return read_result(path)
    partial = path.with_suffix(".partial.safetensors") if path and learns else None

    def flush() -> None:  # a training goes on from the very features it began with
        if isinstance(tower, CLIPBackbone) and tower.frozen is not None and processes.is_main():
            tower.frozen.flush()

    curves = log / Path(file_name(settings)).stem if log and learns else None
    with resumable(partial, flush), curves_in(curves):
        try:
            if checkpoint is not None and chosen.learner is not None:
                load_checkpoint(checkpoint, chosen.learner, settings.backbone.fingerprint)
            fit, seconds = _fit(chosen, settings, rows, results, progress)
            result = _measure(chosen, settings, fit, seconds, measured, read_blind, progress)
        finally:
            flush()
        if path is not None and processes.is_main():
            if learns and chosen.learner is not None:
                save_checkpoint(path.with_suffix(".safetensors"), chosen.learner, _header(settings))
            write_result(result, path)
    return result


def run_each(
    methods: Sequence[str],
    data: Data,
    *,
    seeds: Iterable[int] = (0,),
    categories: CategoryList | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = silent,
    **asked: Any,
) -> tuple[list[BenchResult], dict[str, FdrdError]]:
    """`run` for several methods and seeds, and with `categories` for both halves.

    Args:
        methods: registered names.
        data: what `run` takes.
        seeds: a method that draws nothing is run once.
        categories: the base categories.
        options: of each method.
        progress: told the method and the seed, too.
        asked: whatever else `run` takes.

    Returns:
        The results, and why a method has none: one that fails does not stop the others.
    """
    found: list[BenchResult] = []
    failed: dict[str, FdrdError] = {}
    seeds = list(seeds)
    for name in dict.fromkeys(methods):
        try:
            for seed in seeds:

                def tell(what: str, done: int, total: int, to: str = f"{name} {seed}") -> None:
                    progress(f"{to}: {what}", done, total)

                for half in HALVES if categories else HALVES[:1]:
                    result = run(
                        name, data, seed=seed, categories=categories, half=half,
                        options=(options or {}).get(name), progress=tell, **asked,
                    )  # fmt: skip
                    found.append(result)
                if result.settings.seed is None:
                    break  # another seed gives the same numbers
        except FdrdError as error:
            failed[name] = error
    return found, failed


def _fit(
    chosen: Method,
    settings: Settings,
    rows: Mapping[str, RetrievalDataset],
    results: Path | None,
    progress: Progress,
) -> tuple[FitLog | None, float]:
    """Learn from the rows, where there are any; what came of it, and the seconds that it took."""
    if not rows:
        return None, 0.0
    if chosen.learner is not None and results is not None:
        # Whether, the main process says: by then it has written what the others look for again.
        found = processes.agreed(_trained_before(settings, results) is not None)
        before = _trained_before(settings, results) if found else None
        if before is not None:
            path, result = before
            progress(f"trained before: {path}", 1, 1)
            load_checkpoint(path, chosen.learner, settings.backbone.fingerprint)
            return result.fit, result.seconds["fit"]
    started = time.monotonic()
    fit = chosen.fit(rows["train"], rows["validation"], progress)
    spent = sum(epoch.seconds for epoch in fit.epochs)  # in earlier, killed processes too
    return fit, max(time.monotonic() - started, spent)


def _trained_before(settings: Settings, results: Path) -> tuple[Path, BenchResult] | None:
    """The checkpoint of the same training, with the result that it was kept for."""
    wanted = dataclasses.replace(_header(settings), backbone="")
    for path in sorted(results.glob(f"{settings.method}-*.safetensors")):
        try:  # the header first: a result file is long
            if dataclasses.replace(read_header(path), backbone="") != wanted:
                continue
            result = read_result(path.with_suffix(".json"))
        except FdrdError:  # a run that was killed, or another version's
            continue
        said = result.settings
        if (said.code, said.learned_from) == (settings.code, settings.learned_from):
            return path, result
    return None


def _measure(
    chosen: Method,
    settings: Settings,
    fit: FitLog | None,
    fit_seconds: float,
    measured: RetrievalDataset,
    read_blind: RetrievalDataset | None,
    progress: Progress,
) -> BenchResult:
    """Encode, rank, and put the result together; `read_blind` is what the blind reader learns from."""
    started = time.monotonic()
    scoring = scoring_of(chosen)
    images, texts = encode_split(chosen, measured, progress, scoring.leak)
    encoded = time.monotonic()
    progress("rank", 0, 1)
    again = again_on(measured, scoring, settings.method, progress)
    ranks = rank_split(chosen, images, texts, measured, settings.gallery, again)
    progress("rank", 1, 1)
    progress("train the blind reader", 0, 1)
    blind = text_only_baseline(measured, read_blind)
    progress("train the blind reader", 1, 1)
    shares = hard_negative_shares(
        chosen.encode_text, chosen.similarity, images, measured,
        blind=blind, again=again, progress=progress,
    )  # fmt: skip
    metrics = measure(ranks, measured, settings.gallery, shares)
    done = time.monotonic()
    return BenchResult(
        schema_version=SCHEMA_VERSION,
        settings=settings,
        learned_parameters=_count(chosen),
        fit=fit,
        metrics=metrics,
        queries=queries_of(measured),
        ranks=ranks_as_text(ranks),
        seconds={"fit": fit_seconds, "encode": encoded - started, "measure": done - encoded},
        versions=installed_versions(),
    )


def _header(settings: Settings) -> CheckpointHeader:
    return CheckpointHeader(
        method=settings.method,
        options=settings.options,
        backbone=settings.backbone.name,
        backbone_fingerprint=settings.backbone.fingerprint,
        train_fingerprint=settings.learned_from["train"],
        train=settings.train or {},
        seed=settings.seed,
    )


def open_backbone(
    backbone: str | Backbone | None,
    data: Data,
    *,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
) -> Backbone:
    """The backbone that is given, or named, or that the dataset names, with its frozen features.

    Several runs may share it, so that its weights are read once.
    """
    if backbone is None:
        if isinstance(data, Mapping):
            raise FdrdError("splits name no backbone; give one")
        backbone, allow_code = default_backbone(data), False
    return cached_backbone(backbone, cache=cache, device=device, allow_code=allow_code)


def _train_config(name: str, given: Mapping[str, Any]) -> TrainConfig:
    default: TrainConfig = inspect.signature(get_method(name)).parameters["train"].default
    return dataclasses.replace(default, **read_options(options_of(TrainConfig), given, "training"))


def _count(method: Method) -> int:
    parameters = method.learner.parameters() if method.learner is not None else ()
    return sum(each.numel() for each in parameters if each.requires_grad)
