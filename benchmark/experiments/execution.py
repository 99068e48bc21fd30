"""Run the cells of an experiment, in one process or in several that share the results folder.

Each training has a lock file, so any number of processes, also of several machines with a common folder, can run
the same experiment: a process skips what another one is running, and reads its result in the end.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from benchmark.evaluation.base_to_new import read_categories
from benchmark.experiments import presets
from benchmark.experiments.plan import Cell, Experiment, MethodRow, brief, read_experiment
from benchmark.experiments.tuning import tuned_row
from benchmark.models.backbone import Backbone
from benchmark.models.loading import refuse_function
from benchmark.registry import load_plugin, takes
from benchmark.result import BenchResult, write_result
from benchmark.runner import open_backbone, run
from benchmark.settings import HALVES
from benchmark.train_context import Observer
from benchmark.training.row_selection import Data, split_of
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent


@dataclass(frozen=True)
class ExperimentOutcome:
    """Results of all cells, and the errors of those that failed, by row, seed and what sets the cell apart."""

    results: list[BenchResult] = field(default_factory=list)
    failed: dict[str, FdrdError] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        from benchmark.reporting.pages import html_parts, main_parts

        errors = [f"{name} failed: {error}" for name, error in self.failed.items()]
        return html_parts([*main_parts(self.results), *errors])


def run_experiment(
    experiment: str | Path | Experiment,
    *,
    data: Mapping[str, Data] | None = None,
    backbones: Mapping[str, Backbone] | None = None,
    jobs: int = 1,
    plugins: Sequence[str] = (),
    device: str | None = None,
    track: str | None = None,
    allow_code: bool = False,
    progress: Progress = silent,
) -> ExperimentOutcome:
    """Run every cell of an experiment that has no result yet, as `fdrd run` does.

    Finished cells are read, interrupted trainings resume. A cell that fails does not stop the others.

    Args:
        experiment: a file, see `benchmark.experiments.plan`, or its content.
        data: splits by a name that the experiment uses, instead of loading them.
        backbones: backbones by a name that the experiment uses, instead of loading them.
        jobs: number of processes.
        plugins: modules or files that register methods.
        device: of the backbones that are loaded.
        track: where the curves of each training go, as in `RunRequest.log`.
        allow_code: the user typed the backbones, so they may name functions.
        progress: receives the stages of each cell that this process runs.

    Raises:
        FdrdError: the experiment or its data is wrong; nothing has run.
    """
    for module in plugins:
        load_plugin(module)
    plan = experiment if isinstance(experiment, Experiment) else read_experiment(experiment)
    if jobs > 1 and (data or backbones):
        raise FdrdError("several jobs load data and backbones by name; give names, or jobs=1")
    cells = plan.cells(data)
    for name, split, domain in {(c.data, c.protocol.split, c.protocol.domain) for c in cells}:
        split_of((data or {}).get(name, name), split, domain)
    for file in {cell.protocol.categories for cell in cells} - {None}:
        read_categories(Path(str(file)))
    for backbone in {
        str(cell.backbone) for cell in cells if cell.backbone not in (backbones or {})
    }:
        refuse_function(backbone, allow_code)
    opened = _Opened(data or {}, backbones or {}, device, track, allow_code)
    results: dict[str, BenchResult] = {}
    failed: dict[str, FdrdError] = {}
    with _other_jobs(jobs - 1, Job(plan, [*plugins], device, track, allow_code)):
        for cell in _free_first(cells, Path(plan.results)):
            try:
                result = _run(cell, plan, opened, _prefixed(progress, brief(cell, cells)))
                results[result.settings.file_name()] = result
            except FdrdError as error:
                failed[brief(cell, cells)] = error
    return ExperimentOutcome(list(results.values()), failed)


class Job(msgspec.Struct, frozen=True):
    """What another process is asked to run; see `run_experiment`."""

    experiment: Experiment
    plugins: list[str]
    device: str | None
    track: str | None
    allow_code: bool


@dataclass(frozen=True)
class _Opened:
    """Data and backbones that are given, and those that were used last."""

    given: Mapping[str, Data]
    backbones: Mapping[str, Backbone]
    device: str | None
    track: str | None
    allow_code: bool
    last: dict[tuple[str, str | None], Backbone] = field(default_factory=dict)
    joined: dict[str, Data] = field(default_factory=dict)

    def data(self, cell: Cell) -> Data:
        data = self.given.get(cell.data, cell.data)
        if cell.protocol.preset is None:
            return data
        if cell.data not in self.joined:
            self.joined.clear()
            self.joined[cell.data] = presets.paper_data(data)
        return self.joined[cell.data]

    def backbone(self, cell: Cell) -> Backbone:
        if cell.backbone is not None and cell.backbone in self.backbones:
            return self.backbones[cell.backbone]
        key = (cell.data if cell.backbone is None else "", cell.backbone)
        if key not in self.last:
            self.last.clear()  # one backbone in memory at a time
            data = self.given.get(cell.data, cell.data)
            self.last[key] = open_backbone(
                cell.backbone, data, device=self.device, allow_code=self.allow_code
            )
        return self.last[key]


def _run(cell: Cell, plan: Experiment, opened: _Opened, progress: Progress) -> BenchResult:
    """Run one cell, and record its label and its tuning in the result file."""
    results, log = Path(plan.results), None
    if cell.row.search and (tuning := plan.tuning):
        protocol = msgspec.structs.replace(cell.protocol, split="validation", gallery="domain")
        trial = msgspec.structs.replace(cell, protocol=protocol, seed=tuning.seed, half=HALVES[0])

        def run_trial(row: MethodRow, folder: Path, observer: Observer) -> BenchResult:
            drawn = msgspec.structs.replace(trial, row=row)
            return _run_row(drawn, folder, opened, progress, observer)

        row, log = tuned_row(trial, tuning, results / "tuning", run_trial)
        cell = msgspec.structs.replace(cell, row=row)
    result = _run_row(cell, results, opened, progress)
    settings = dataclasses.replace(result.settings, label=cell.row.label)
    if cell.protocol.preset and settings.train:
        settings = dataclasses.replace(
            settings,
            options_given=cell.row.options,
            train_given=cell.row.train,
            remarks=settings.remarks | {presets.TAG: presets.REMARK},
        )
    recorded = dataclasses.replace(result, settings=settings, tuning=log)
    if recorded != result:
        write_result(recorded, results / settings.file_name())
    return recorded


def _run_row(
    cell: Cell, results: Path, opened: _Opened, progress: Progress, *observers: Observer
) -> BenchResult:
    protocol, row = cell.protocol, cell.row
    if protocol.preset:
        row = presets.paper_row(row)
    return run(
        row.method,
        opened.data(cell),
        split=protocol.split,
        backbone=opened.backbone(cell) if takes(row.method, "backbone") else None,
        domain=protocol.domain,
        train_domain=protocol.train_domain,
        categories=read_categories(Path(protocol.categories)) if protocol.categories else None,
        half=cell.half,
        shots=protocol.shots,
        seed=cell.seed,
        gallery=protocol.gallery,
        hard_negatives=protocol.hard_negatives,
        options=row.options,
        train=row.train,
        results=results,
        log=opened.track,
        progress=progress,
        observers=observers,
    )


def _prefixed(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)


def _free_first(cells: Sequence[Cell], results: Path) -> Iterator[Cell]:
    """Yield the cells under the lock of their training: first those that are free, then the others."""
    folder = results / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    groups = [(key, list(group)) for key, group in groupby(cells, lambda cell: cell.training)]
    for seconds in (0, -1):  # -1 waits for the other process
        later = []
        for key, group in groups:
            try:
                with FileLock(folder / key, timeout=seconds):
                    yield from group
            except Timeout:
                later.append((key, group))
        groups = later


@contextmanager
def _other_jobs(number: int, job: Job) -> Iterator[None]:
    """Run the experiment in more processes while the block runs; they save their state and stop when it ends."""
    threads = str(max(1, (os.cpu_count() or 1) // (number + 1)))
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmark.experiments.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": threads, **os.environ},
            start_new_session=True,  # Ctrl-C reaches this process only
        )
        for _ in range(number)
    ]
    try:
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(msgspec.json.encode(job) + b"\n")
            worker.stdin.flush()
        yield
    finally:
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.close()  # asks it to stop
        for worker in workers:
            worker.wait()
