"""Run the cells of an experiment, in one process or in several that share the results folder.

Each training has a lock file, so any number of processes, also of several machines with a common folder, can run
the same experiment: a process skips what another one is running, and reads its result in the end.
"""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from benchmark.experiments.plan import (
    PAPER_REMARK,
    Experiment,
    brief,
    describe_domains,
    paper_data,
    paper_run,
    read_experiment,
)
from benchmark.experiments.tuning import tuned_run
from benchmark.models.backbone import Backbone
from benchmark.models.loading import default_backbone, refuse_function
from benchmark.registry import load_plugin, takes
from benchmark.result import BenchResult, read_results, write_result
from benchmark.results import Results
from benchmark.runner.description import Resources, Run
from benchmark.runner.plan import open_backbone
from benchmark.runner.runs import answering, execute
from benchmark.settings import HALVES
from benchmark.training.row_selection import Data, split_of
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent


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
) -> Results:
    """Run every cell of an experiment that has no result yet, as `fdrd run` does.

    Finished cells are read, interrupted trainings resume. A cell that fails does not stop the others: the errors are
    in `failed`, by row, seed and what sets the cell apart.

    Args:
        experiment: a file, see `benchmark.experiments.plan`, or its content.
        data: splits by a name that the experiment uses, instead of loading them.
        backbones: backbones by a name that the experiment uses, instead of loading them.
        jobs: number of processes.
        plugins: modules or files that register methods.
        device: of the backbones that are loaded.
        track: where the curves of each training go, as in `run`.
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
    splits, towers, folder = data or {}, backbones or {}, Path(plan.results)
    cells = plan.cells(splits)
    for name, split, domain in {(cell.data, cell.split, cell.domain) for cell in cells}:
        split_of(splits.get(name, name), split, domain)
    for backbone in {str(cell.backbone) for cell in cells if cell.backbone not in towers}:
        refuse_function(backbone, allow_code)
    for line in describe_domains(plan, splits):
        progress(line, 1, 1)
    job = Job(plan, [*plugins], device, track, allow_code)
    opened = _Opened(job, splits, towers)
    results: dict[str, BenchResult] = {}
    failed: dict[str, FdrdError] = {}
    with _other_jobs(jobs - 1, job):
        for cell in _free_first(cells, folder):
            name = brief(cell, cells)

            def report(stage: str, done: int, total: int, name: str = name) -> None:
                progress(f"{name}: {stage}", done, total)

            try:
                result = _run(cell, opened, report)
                results[result.settings.file_name()] = result
            except FdrdError as error:
                failed[name] = error
    return Results(list(results.values()), failed, folder)


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

    job: Job
    splits: Mapping[str, Data]
    backbones: Mapping[str, Backbone]
    last: dict[tuple[str, str | None], Backbone] = field(default_factory=dict)
    joined: dict[str, Data] = field(default_factory=dict)

    def resources(self, cell: Run, results: Path, progress: Progress) -> Resources:
        backbone = self._backbone(cell) if takes(cell.method, "backbone") else None
        data = self.splits.get(cell.data, cell.data)
        if cell.preset is not None:
            if cell.data not in self.joined:
                self.joined.clear()
                self.joined[cell.data] = paper_data(data)
            data = self.joined[cell.data]
        return Resources(data, backbone, results, self.job.track, progress=progress)

    def _backbone(self, cell: Run) -> Backbone:
        if cell.backbone is not None and cell.backbone in self.backbones:
            return self.backbones[cell.backbone]
        key = (cell.data if cell.backbone is None else "", cell.backbone)
        if key not in self.last:
            self.last.clear()  # one backbone in memory at a time
            self.last[key] = open_backbone(
                cell.backbone,
                self.splits.get(cell.data, cell.data),
                device=self.job.device,
                allow_code=self.job.allow_code,
            )
        return self.last[key]


def _run(cell: Run, opened: _Opened, progress: Progress) -> BenchResult:
    """Run one cell, and record its identity, its label and its tuning in the result file."""
    plan = opened.job.experiment
    results, log, run = Path(plan.results), None, cell
    if cell.search and (tuning := plan.tuning):
        trial = cell.changed(split="validation", gallery="domain", seed=tuning.seed, half=HALVES[0])
        resources = opened.resources(trial, results, progress)
        tuned, log = tuned_run(trial, tuning, results / "tuning", resources)
        run = cell.changed(options=tuned.options, train=tuned.train, search=None)
    resources = opened.resources(run, results, progress)
    result = execute(paper_run(run) if cell.preset else run, resources)
    recorded: dict[str, Any] = {"label": cell.label}
    if cell.preset and result.settings.train:
        remarks = result.settings.remarks | {cell.preset: PAPER_REMARK}
        recorded |= {"options_given": run.options, "train_given": run.train, "remarks": remarks}
    if result.tuning != log:
        result = replace(result, tuning=log)
        write_result(result, results / result.settings.file_name())
    return answering(result, [identity(cell)], results, **recorded)


def _free_first(cells: Sequence[Run], results: Path) -> Iterator[Run]:
    """Yield the cells under the lock of their training: first those that are free, then the others."""
    folder = results / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    groups = [(key, list(group)) for key, group in groupby(cells, lambda cell: cell.training())]
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
def _other_jobs(count: int, job: Job) -> Iterator[None]:
    """Run the experiment in more processes while the block runs; they save their state and stop when it ends."""
    threads = str(max(1, (os.cpu_count() or 1) // (count + 1)))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import work; work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": threads, **os.environ},
            start_new_session=True,  # Ctrl-C reaches this process only
        )
        for _ in range(count)
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


def work() -> None:
    """Run the experiment of the job on the first line of stdin, until it is finished or stdin ends.

    The end of stdin asks this process to stop, even if its parent was killed. It saves its training first.
    """
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)

    def watch() -> None:
        sys.stdin.buffer.read()
        _thread.interrupt_main()

    # A shell starts background jobs with SIGINT ignored, and then `interrupt_main` does nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=watch, daemon=True).start()
    with suppress(KeyboardInterrupt):
        run_experiment(**msgspec.structs.asdict(job))


def states(experiment: Experiment, data: Mapping[str, Data] | None = None) -> list[tuple[Run, str]]:
    """Return `finished` or `to do` for each run, without loading a backbone.

    Names are compared, not contents: a run whose data, backbone or code has changed since runs again although it
    is listed as finished.
    """
    folder = Path(experiment.results)
    found = read_results(folder) if any(folder.glob("*.json")) else []
    answered = {(asked, r.settings.seed) for r in found for asked in r.settings.asked}

    def state(cell: Run) -> str:
        asked = identity(cell)  # a result without a seed answers every seed
        return "finished" if {(asked, cell.seed), (asked, None)} & answered else "to do"

    return [(cell, state(cell)) for cell in experiment.cells(data)]


def identity(cell: Run) -> str:
    """Return the identity of a run of an experiment, with the name of the backbone that it uses."""
    if not takes(cell.method, "backbone"):
        return cell.changed(backbone=None).identity()
    return cell.changed(backbone=cell.backbone or default_backbone(cell.data)).identity()
