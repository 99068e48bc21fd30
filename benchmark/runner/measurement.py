"""Train the method of a plan, or load what an equal training has learned; then encode, rank and measure its split."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmark.checkpoint import load_checkpoint, read_header, tensors_digest
from benchmark.evaluation.encoding import encode_split, measure, rank_split
from benchmark.evaluation.hard_negatives import (
    hard_negative_shares,
    hard_negative_wins,
    natural_pair_wins,
    text_only_baseline,
)
from benchmark.models import processes
from benchmark.models.backbone import Features
from benchmark.rank_metrics import DIRECTIONS, Mask, Share
from benchmark.registry import TrainContext
from benchmark.result import BenchResult, FitLog, Queries, QueryRanks, digits, read_result
from benchmark.runner.plan import Plan
from benchmark.settings import SCHEMA_VERSION, Settings
from fdrd.errors import FdrdError
from fdrd.progress import Progress


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
