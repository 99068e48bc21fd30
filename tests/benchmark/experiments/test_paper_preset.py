"""The paper's protocol: a model per domain from train and validation rows, the last step, the whole test split."""

import pytest

import benchmark
from benchmark.experiments.execution import states
from benchmark.experiments.plan import PAPER_METHODS, PAPER_OPTIONS, PAPER_TRAIN, describe_domains
from benchmark.registry import method_options
from benchmark.reporting.comparison import group_results
from benchmark.reporting.tables import command
from benchmark.settings import TrainConfig
from fdrd.errors import FdrdError
from fdrd.options import read_options


@pytest.fixture(scope="module")
def outcome(two_domains, tiny_clip, tmp_path_factory):
    methods = ["zero_shot", "coop", benchmark.Run(method="maple", options={"loss": "symmetric"})]
    experiment = paper(methods, tmp_path_factory.mktemp("runs"), train=TRAIN)
    given = {"data": {"drawn": two_domains}, "backbones": {"tiny": tiny_clip}}
    return experiment, given, benchmark.run_experiment(experiment, **given)


TRAIN = {"epochs": 2, "batch_size": 8}


def paper(methods, folder, **asked):
    protocols = [benchmark.Protocols(preset="paper", domain="each")]
    options = {"backbones": ["tiny"], "seeds": [0], "results": str(folder), **asked}
    return benchmark.Experiment(data="drawn", methods=methods, protocols=protocols, **options)


def test_each_domain_has_a_model_of_its_own_from_train_and_validation(outcome, two_domains):
    _, _, found = outcome
    assert found.failed == {}
    by_cell = {(r.settings.method, r.settings.domain): r for r in found.results}
    assert len(by_cell) == len(found.results) == 6
    for domain in ("round", "edged"):
        both = two_domains["train"].joined(two_domains["validation"]).of_domain(domain)
        coop = by_cell["coop", domain]
        assert coop.settings.learned_from["train"] == both.fingerprint
        assert coop.metrics.by_direction["image_to_text"].queries == len(
            two_domains["test"].of_domain(domain).image_digests
        )
        assert [e.step for e in coop.fit.epochs] == [2 * -(-len(both) // 8)]
        assert (coop.fit.best_epoch, coop.fit.untrained_mrr) == (1, None)
        assert coop.settings.options["loss"] == "image_to_text"
        assert by_cell["maple", domain].settings.options["loss"] == "symmetric"
        assert "paper" not in by_cell["zero_shot", domain].settings.remarks


def test_rows_say_so_and_the_command_repeats_it(outcome):
    experiment, given, found = outcome
    labels = {row.label for each in group_results(found.results) for row in each.rows}
    assert {label.rpartition(" ")[2] for label in labels} == {"zero_shot", "[paper]"}
    coop = next(r for r in found.results if r.settings.method == "coop")
    said = command(coop.settings)
    assert "--preset paper" in said
    assert "loss" not in said
    assert "eval_every" not in said
    assert {state for _, state in states(experiment, given["data"])} == {"finished"}


def test_a_domain_that_cannot_be_run_is_named_before_anything_starts(
    two_domains, tiny_clip, tmp_path
):
    """One domain is in the test split only, one in the training split only."""
    test = two_domains["test"].of_domain("round")
    uneven = {"train": two_domains["train"].of_domain("edged"), "test": test}
    stages = []
    experiment = paper(["zero_shot", "coop"], tmp_path)
    found = benchmark.run_experiment(
        experiment,
        data={"drawn": uneven},
        backbones={"tiny": tiny_clip},
        progress=lambda stage, *_: stages.append(stage),
    )
    assert stages[:2] == [
        "edged is left out: it has no test split",
        "round has no training split, so it is left out of coop; 4 test pairs as gallery",
    ]
    assert found.failed == {}
    (result,) = found.results
    assert (result.settings.method, result.settings.domain) == ("zero_shot", "round")
    assert describe_domains(experiment, {"drawn": two_domains}) == [
        "edged has 16 pairs to train on, 8 test pairs as gallery",
        "round has 8 pairs to train on, 4 test pairs as gallery",
    ]
    with pytest.raises(FdrdError, match="no domain has training rows"):
        paper(["coop"], tmp_path).cells({"drawn": uneven})


def test_a_domain_without_validation_rows_is_trained(two_domains, tiny_clip, tmp_path):
    splits = {**two_domains, "validation": two_domains["validation"].of_domain("edged")}
    given = {"data": {"drawn": splits}, "backbones": {"tiny": tiny_clip}}
    found = benchmark.run_experiment(paper(["coop"], tmp_path, train={"epochs": 1}), **given)
    assert found.failed == {}
    assert {r.settings.domain for r in found.results} == {"round", "edged"}


def test_the_preset_names_methods_and_options_that_exist():
    assert {*PAPER_METHODS, *PAPER_OPTIONS} <= {*benchmark.method_names()}
    for name, options in PAPER_OPTIONS.items():
        read_options(method_options(name), options, name)
    TrainConfig().changed(PAPER_TRAIN)
