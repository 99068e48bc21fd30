"""The paper's protocol: a model per domain from train and validation rows, the last step, the whole test split."""

import pytest

import benchmark
from benchmark.experiments.presets import paper_experiment
from benchmark.experiments.state import states
from benchmark.reporting.comparison import group_results
from benchmark.reporting.sentences import command


@pytest.fixture(scope="module")
def two_domains(make_dataset, make_row, make_drawing):
    def split(name):
        rows = []
        for domain, shapes in (("round", ("circle",)), ("edged", ("square", "triangle"))):
            for color in ("red", "green", "blue", "black"):
                for shape in shapes:
                    caption = f"a {color} {shape} on the {'left' if name == 'test' else 'right'}"
                    image = make_drawing(color, shape, "left" if name == "train" else "right")
                    rows.append(make_row(len(rows), image, caption, shape, domain=domain))
        return make_dataset(rows, name)

    return {name: split(name) for name in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def outcome(two_domains, tiny_clip, tmp_path_factory):
    experiment = paper_experiment(
        "drawn",
        ["zero_shot", "coop", benchmark.MethodRow(method="maple", options={"loss": "symmetric"})],
        backbone="tiny",
        seeds=[0],
        train={"epochs": 2, "batch_size": 8},
        results=str(tmp_path_factory.mktemp("runs")),
    )
    given = {"data": {"drawn": two_domains}, "backbones": {"tiny": tiny_clip}}
    return experiment, given, benchmark.run_experiment(experiment, **given)


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
