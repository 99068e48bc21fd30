"""Tuning: equal budgets of steps, choice on validation, and a search that continues after a kill."""

from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import pytest

import benchmark
from benchmark.experiments.execution import states
from benchmark.experiments.plan import Search, Tuning
from benchmark.experiments.tuning import _Meter
from benchmark.rank_metrics import DIRECTIONS
from benchmark.result import read_results, write_result
from fdrd.errors import FdrdError

BUDGET = 40
"""Of trials with 9 steps each: 24 rows by eights, three times."""


def plan(folder, **changes):
    search = Search(
        options={"n_ctx": [1, 2, 3]},
        train={"learning_rate": {"low": 1e-4, "high": 0.1, "log": True}},
    )
    row = benchmark.Run(method="coop", search=search)
    given = {
        "data": "drawn",
        "backbones": ["tiny"],
        "methods": ["zero_shot", row],
        "seeds": 2,
        "train": {"epochs": 3, "batch_size": 8},
        "results": str(folder),
        "tuning": Tuning(steps=BUDGET, first_rung=3),
    }
    return benchmark.to_experiment({**given, **changes})


def searching(**space):
    return {"methods": [{"method": "coop", "search": space}]}


@pytest.fixture(scope="module")
def given(quick_dataset, tiny_clip):
    return {"data": {"drawn": quick_dataset}, "backbones": {"tiny": tiny_clip}}


def validation_mrr(result):
    return mean(result.metrics.by_direction[each]["MRR"] for each in DIRECTIONS)


@pytest.fixture(scope="module")
def whole(given, tmp_path_factory):
    """The plan and outcome of a search that nothing interrupted."""
    experiment = plan(tmp_path_factory.mktemp("whole"))
    return experiment, benchmark.run_experiment(experiment, **given)


def test_the_best_trial_on_validation_is_measured_with_every_seed(given, whole):
    experiment, found = whole
    folder = Path(experiment.results)
    assert found.failed == {}
    zero_shot, *coop = found.results
    assert zero_shot.tuning is None
    (log,) = {repr(each.tuning): each.tuning for each in coop}.values()
    assert log.trials > BUDGET // 9, "no trial was stopped early"
    assert BUDGET <= log.steps <= BUDGET + 1
    trials = read_results(next((folder / "tuning").glob("coop-*")))
    assert {each.settings.split for each in trials} == {"validation"}
    assert len(trials) == log.finished
    best = max(trials, key=validation_mrr)
    assert log.validation_mrr == validation_mrr(best)
    for seed, result in enumerate(coop):
        assert (result.settings.split, result.settings.seed) == ("test", seed)
        assert result.settings.options == best.settings.options
        assert result.settings.train == best.settings.train
    assert {state for _, state in states(experiment)} == {"finished"}
    journal = next((folder / "tuning").glob("*/journal.log"))
    trials_before = journal.read_text().count('"steps"')
    assert benchmark.run_experiment(experiment, **given).results == found.results
    assert journal.read_text().count('"steps"') == trials_before


def trials_in(folder):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = str(next((folder / "tuning").glob("*/journal.log")))
    storage = JournalStorage(JournalFileBackend(journal))
    return optuna.load_study(study_name=None, storage=storage).trials


def test_the_first_trial_has_the_values_of_the_row_that_lie_in_the_space(given, tmp_path):
    search = {
        "options": {"n_ctx": [1, 2], "ctx_init": ["", "a"]},
        "train": {"lr": {"low": 0.01, "high": 0.03}},
    }
    row = {"method": "coop", "options": {"n_ctx": 2, "ctx_init": "of"}, "search": search}
    train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.02}
    tuning = Tuning(steps=4, first_rung=3)
    experiment = plan(tmp_path, methods=[row], seeds=1, train=train, tuning=tuning)
    benchmark.run_experiment(experiment, **given)
    first = trials_in(tmp_path)[0].params
    assert (first["-M n_ctx"], first["-T learning_rate"]) == (2, 0.02)
    assert first["-M ctx_init"] in ("", "a")


class Killed(BaseException):
    pass


def test_a_killed_search_ends_with_the_trials_of_one_that_was_not(
    given, tmp_path, whole, monkeypatch
):
    """Killed in a first trial and again where it resumes, in later ones, and when a trial was written."""
    monkeypatch.setattr("benchmark.training.loop.EVERY", 0)
    monkeypatch.setattr("benchmark.training.resumable.SHARE", float("inf"))
    for calls in (30, 25, 40):
        left = iter(range(calls))

        def kill(_stage, _done, _total, left=left):
            if next(left, None) is None:
                raise Killed

        with pytest.raises(Killed):
            benchmark.run_experiment(plan(tmp_path), progress=kill, **given)

    def write(result, path):
        write_result(result, path)
        raise Killed

    monkeypatch.setattr("benchmark.runner.runs.write_result", write)
    with pytest.raises(Killed):
        benchmark.run_experiment(plan(tmp_path), **given)
    monkeypatch.setattr("benchmark.runner.runs.write_result", write_result)
    (*_, found), (*_, expected) = (
        each.results for each in (benchmark.run_experiment(plan(tmp_path), **given), whole[1])
    )
    assert found.tuning == expected.tuning
    assert {trial.state.name for trial in trials_in(tmp_path)} == {"COMPLETE", "PRUNED"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": None}, r"methods\[1\]: .*add a \[tuning\] table"),
        ({"tuning": {"step": 3}}, r"tuning: unknown key `step`; allowed: steps, first_rung"),
        (searching(options={"ctx": [1]}), r"methods\[0\]: search has no option 'ctx'"),
        (
            searching(train={"learning_rate": {"low": 1}}),
            r"methods\[0\]\.search\.train.*missing required field `high`",
        ),
        (searching(train={"warmup": {"low": 3, "high": 1}}), "low must not be above high"),
        (searching(train={"lr": {"low": 0, "high": 1, "log": True}}), "must be above 0"),
        (searching(options={"n_ctx": []}), r"search\.options"),
        (
            {**searching(options={"n_ctx": [1]}), "protocols": [{"preset": "paper"}]},
            r"methods\[0\]: .*the preset trains on the validation rows",
        ),
    ],
)
def test_a_wrong_search_is_an_error_that_names_the_key(tmp_path, changes, message):
    with pytest.raises(FdrdError, match=message):
        plan(tmp_path, **changes)


def test_a_budget_that_no_trial_survives_is_an_error(given, tmp_path):
    found = benchmark.run_experiment(plan(tmp_path, tuning=Tuning(steps=5)), **given)
    assert "none of 1 trials finished; give more steps" in str(next(iter(found.failed.values())))


def test_searched_training_options_win_over_shared_ones_by_any_name(tmp_path):
    space = {"lr": [0.1, 0.2], "steps": [5, 9]}
    shared = {"learning_rate": 0.3, "epochs": 2}
    (row,) = plan(tmp_path, train=shared, **searching(train=space)).rows()
    assert row.search.train == {"learning_rate": [0.1, 0.2], "steps": [5, 9]}
    assert row.train == {"learning_rate": 0.3}


def test_each_step_is_reported_once_where_a_method_trains_in_stages():
    """DCAR's second stage evaluates before its first step, where the adapter's stage has ended."""
    reported = []  # Optuna warns at a second value of a step, and ignores it
    report = lambda _value, step: reported.append(step)  # noqa: E731
    meter = _Meter(SimpleNamespace(report=report, should_prune=lambda: False), 100)
    for _ in range(2):
        meter("validation_mrr", 0, 0.1)
        for step in range(1, 5):
            meter("loss", step, 1.0)
            if step % 2 == 0:
                meter("validation_mrr", step, 0.2)
    assert (reported, meter.steps) == ([0, 2, 4, 6, 8], 8)
