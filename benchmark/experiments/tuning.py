"""Choose the options of a method on the validation split, with a budget of optimizer steps.

Optuna draws options (TPE) and stops trials that are not among the best third at a rung (asynchronous successive
halving, arXiv 1810.05934). The first trial has the values that the row itself gives. The trials of a method share one
budget of steps, so methods with equal budgets have equal tuning effort. A killed search continues from its journal, and
its last trial resumes: it ends with the trials of a search that was not killed.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from benchmark.experiments.plan import Tuning
from benchmark.result import BenchResult, TuningLog
from benchmark.runner.description import Range, Resources, Run
from benchmark.runner.runs import execute
from benchmark.settings import OptionValue
from fdrd.errors import FdrdError, first_line

if TYPE_CHECKING:
    import optuna

_KILLED = "killed"
"""Attribute of a study: options and reports of the trial that was killed last."""

_EXHAUSTED = 50
"""A search ends after this many trials in a row that took no step, e.g. because their options were tried before."""


class _Stopped(Exception):  # noqa: N818  # not an error
    """The trial is not among the best, or the budget is spent."""


def tuned_run(
    run: Run, tuning: Tuning, folder: Path, resources: Resources
) -> tuple[Run, TuningLog]:
    """Return a run with the options that are best on validation, and how they were chosen.

    Raises:
        FdrdError: Optuna is not installed, or no trial finished.
    """
    # The search does not depend on hard negatives.
    content = msgspec.json.encode([run.changed(hard_negatives=True), tuning], order="deterministic")
    home = folder / f"{run.method}-{hashlib.sha256(content).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    study = _study(home, tuning)
    import optuna

    if not study.trials:
        study.enqueue_trial(_own_values(run))
    without_steps = 0
    while (left := tuning.steps - _spent(study)) > 0 and without_steps < _EXHAUSTED:
        # The sampler's state is not in the journal, so each trial has a seed of its own.
        ended = [each.params for each in study.trials if "steps" in each.user_attrs]
        study.sampler = optuna.samplers.TPESampler(seed=(tuning.seed + len(ended)) % 2**32)
        trial = study.ask()
        drawn, meter, value = _drawn(run, trial), _Meter(trial, left), None
        if trial.params not in ended:
            try:
                meter.replay(study)
                result = execute(drawn, replace(resources, results=home, observers=(meter,)))
                meter.finish(result)
                value = result.mrr
            except _Stopped:
                pass
            except FdrdError as error:
                trial.set_user_attr("error", first_line(error))
        trial.set_user_attr("steps", meter.steps)
        study.tell(trial, value, state=optuna.trial.TrialState.PRUNED if value is None else None)
        for path in home.glob("*.safetensors"):  # the chosen options are trained again
            path.unlink()
        without_steps = 0 if meter.steps else without_steps + 1
    return _chosen(run, study)


class _Meter:
    """Counts the steps of a trial from its curves, and stops it."""

    def __init__(self, trial: optuna.Trial, budget: int):
        self._trial, self._budget = trial, budget
        self._earlier = self._step = 0  # a method may train in several stages
        self._reported = -1

    @property
    def steps(self) -> int:
        return self._earlier + self._step

    def __call__(self, curve: str, step: int, value: float) -> None:
        if curve == "loss":
            self._earlier += self._step if step <= self._step else 0
            self._step = step
        elif curve == "validation_mrr":
            self._step = max(self._step, step)  # a training that resumes here has no loss before it
            if self.steps > self._reported:
                # A later stage starts with an evaluation where the earlier stage ended with one.
                self._report(self.steps, value)
        if self.steps > self._budget:
            raise _Stopped

    def _report(self, step: int, value: float) -> None:
        self._reported = step
        self._trial.report(value, step)
        if self._trial.should_prune():
            raise _Stopped

    def replay(self, study: optuna.Study) -> None:
        """Repeat the reports of this trial before it was killed; a training that resumes has them behind it."""
        killed = study.user_attrs.get(_KILLED, {})
        reports = killed.get("reports", []) if killed.get("params") == self._trial.params else []
        for step, value in reports:
            self._step = step
            self._report(step, value)

    def finish(self, result: BenchResult) -> None:
        """Count the steps of a training that had ended before the search was killed."""
        if result.fit is not None:
            self._step = max(self._step, result.fit.steps - self._earlier)


def _study(home: Path, tuning: Tuning) -> optuna.Study:
    """Open the study of a folder, without a trial that was killed: it is drawn again, with the same options."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise FdrdError(f"tuning needs Optuna ({error}); pip install 'fdrd[tuning]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def opened(journal: Path) -> optuna.Study:
        return optuna.create_study(
            study_name="tuning",
            storage=JournalStorage(JournalFileBackend(str(journal))),
            pruner=optuna.pruners.SuccessiveHalvingPruner(tuning.first_rung, reduction_factor=3),
            direction="maximize",
            load_if_exists=True,
        )

    study = opened(home / "journal.log")
    states = optuna.trial.TrialState
    if killed := study.get_trials(states=[states.RUNNING]):
        # Its values at rungs would decide about other trials, and about itself.
        again = home / "journal.again"
        again.unlink(missing_ok=True)
        copy = opened(again)
        copy.add_trials(study.get_trials(states=[states.COMPLETE, states.PRUNED]))
        # Its reports, with those that it had when it was killed before.
        last, earlier = killed[-1], study.user_attrs.get(_KILLED, {})
        before = earlier["reports"] if earlier.get("params") == last.params else []
        reports = sorted({**dict(before), **last.intermediate_values}.items())
        copy.set_user_attr(_KILLED, {"params": last.params, "reports": reports})
        again.replace(home / "journal.log")
        study = opened(home / "journal.log")
    return study


def _own_values(run: Run) -> dict[str, OptionValue]:
    """Return the values of the run itself that lie in its search space; the first trial has them."""
    assert run.search is not None

    def contains(space: list[OptionValue] | Range, value: OptionValue) -> bool:
        if isinstance(space, list):
            return value in space
        return isinstance(value, int | float) and space.low <= value <= space.high

    spaces = [("-M", run.options, run.search.options), ("-T", run.train, run.search.train)]
    return {
        f"{flag} {name}": values[name]
        for flag, values, searched in spaces
        for name, space in searched.items()
        if name in values and contains(space, values[name])
    }


def _drawn(run: Run, trial: optuna.Trial) -> Run:
    """Return the run with one value for each option of its search space."""

    def draw(name: str, space: list[OptionValue] | Range) -> OptionValue:
        if isinstance(space, list):
            return cast(OptionValue, trial.suggest_categorical(name, space))
        if isinstance(space.low, int) and isinstance(space.high, int):
            return trial.suggest_int(name, space.low, space.high, log=space.log)
        return trial.suggest_float(name, space.low, space.high, log=space.log)

    assert run.search is not None
    return run.changed(
        options=run.options | {k: draw(f"-M {k}", s) for k, s in run.search.options.items()},
        train=run.train | {k: draw(f"-T {k}", s) for k, s in run.search.train.items()},
        search=None,
    )


def _spent(study: optuna.Study) -> int:
    return sum(each.user_attrs.get("steps", 0) for each in study.trials)


def _chosen(run: Run, study: optuna.Study) -> tuple[Run, TuningLog]:
    import optuna

    counted = [each for each in study.trials if each.user_attrs.get("steps")]
    finished = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if not finished:
        errors = [e for each in study.trials if (e := each.user_attrs.get("error"))]
        raise FdrdError(
            f"tuning {run.label}: none of {len(study.trials)} trials finished; give more steps, "
            f"or shorter trainings" + (f"; the last error: {errors[-1]}" if errors else "")
        )
    best = study.best_trial.params
    log = TuningLog(len(counted), len(finished), _spent(study), study.best_value, chosen=best)
    return _drawn(run, optuna.trial.FixedTrial(best)), log  # type: ignore[arg-type]
