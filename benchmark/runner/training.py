"""Train the method of a plan, or load what an equal training has learned."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.checkpoint import load_checkpoint
from benchmark.checkpoint_files import CheckpointHeader, read_header
from benchmark.models import processes
from benchmark.result import BenchResult, FitLog, read_result
from benchmark.runner.plan import Plan
from benchmark.settings import Settings
from benchmark.train_context import TrainContext
from fdrd.errors import FdrdError


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
        found = processes.agreed(_trained_before(settings, folder) is not None)
        before = _trained_before(settings, folder) if found else None
        check_common_folder(folder, before is not None)
        if before is not None:
            path, result = before
            resources.progress(f"trained before: {path}", 1, 1)
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


def _trained_before(settings: Settings, results: Path) -> tuple[Path, BenchResult] | None:
    """Return the checkpoint of an equal training and the result next to it, if there is one."""
    header = CheckpointHeader.of(settings)
    for path in sorted(results.glob(f"{settings.method}-*.safetensors")):
        try:  # the header first: result files are long
            known = read_header(path)
            if replace(known, backbone=header.backbone, tensors=None) != header:
                continue
            result = read_result(path.with_suffix(".json"))
        except FdrdError:  # an interrupted run, or another version's file
            continue
        same = result.settings.training() == settings.training()
        if same and result.learned == known.tensors:
            return path, result
    return None
