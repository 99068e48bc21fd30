"""Result files: checked when written and read, found again, printed as tables."""

import dataclasses
import json
import shutil

import pytest

from benchmark.reporting.pages import markdown, table
from benchmark.reporting.tables import command
from benchmark.result import read_result, read_results, write_result
from benchmark.training.row_selection import CategoryList
from fdrd.errors import FdrdError
from fdrd.kinds import kind_of
from tests.running import printed

QUICK = {"epochs": 2, "batch_size": 8}


@pytest.fixture
def results(bench):
    """Results of zero-shot, random and CoOp with two seeds."""
    return read_results(bench.folder)


@pytest.fixture
def result(bench):
    return read_result(bench.coop)


def test_a_result_is_the_same_after_writing_and_reading(result, tmp_path):
    write_result(result, tmp_path / "r.json")
    assert read_result(tmp_path / "r.json") == result
    assert kind_of(tmp_path / "r.json") == "result"
    assert kind_of(tmp_path) == "results"


def test_fields_of_a_later_release_are_ignored(result, tmp_path):
    value = result.to_dict()
    value["settings"]["extra"] = 1
    (tmp_path / "new.json").write_text(json.dumps(value))
    assert read_result(tmp_path / "new.json") == result


def test_numbers_that_json_cannot_hold_are_not_written(result, tmp_path):
    broken = dataclasses.replace(result, seconds={**result.seconds, "fit": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(broken, tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("version", "size", "message"),
    [
        (4, -9, "r.json is not a result file .*delete it"),
        (1, None, "r.json: .*another version .* delete it to run again"),
    ],
    ids=["truncated", "earlier"],
)
def test_a_file_that_is_no_result_is_an_error(result, tmp_path, version, size, message):
    text = json.dumps({**result.to_dict(), "schema_version": version})
    (tmp_path / "r.json").write_text(text[:size])
    with pytest.raises(FdrdError, match=message):
        read_results(tmp_path)


def test_an_empty_folder_of_results_names_the_command_that_writes_them(tmp_path):
    with pytest.raises(FdrdError, match="holds no results; `fdrd bench` writes them"):
        read_results(tmp_path)


def test_options_are_kept_resolved_and_as_given(result):
    assert result.settings.options == {"n_ctx": 4, "ctx_init": "a photo of a", "loss": "symmetric"}
    assert result.settings.options_given == {"n_ctx": 4}
    assert result.settings.train.learning_rate == 0.002
    assert result.settings.train_given == QUICK
    assert result.learned_parameters == 4 * 32


@pytest.fixture
def stages(run_tiny, bench):
    """Return the stages of a run beside the finished ones."""

    def stages(method="coop", results=bench.folder, **asked):
        seen = []
        asked = {"train": QUICK, "progress": lambda stage, *_: seen.append(stage), **asked}
        run_tiny(method, results=results, **asked)
        return list(dict.fromkeys(stage.partition(" | ")[0] for stage in seen))

    return stages


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("coop", {"options": {"n_ctx": 4, "loss": "symmetric"}}),  # a number and a default
        ("zero_shot", {"seed": 7}),  # a seed without effect
    ],
)
def test_a_finished_run_is_not_repeated(stages, method, asked):
    assert stages(method, **asked) == ["finished"]  # and nothing before it


@pytest.mark.parametrize(
    ("asked", "trains"),
    [
        ({"split": "validation"}, False),
        ({"gallery": "joint"}, False),
        ({"gallery": 6}, False),
        ({"seed": 2}, True),
        ({"options": {"n_ctx": 3}}, True),
        ({"train": {"epochs": 1, "batch_size": 24}}, True),
        ({"shots": 4}, True),
        ({"categories": CategoryList("base.txt", {"circle": 1, "square": 2})}, True),
    ],
    ids=str,
)
def test_other_numbers_need_a_run_and_another_training_where_something_else_is_learned(
    stages, bench, asked, trains, tmp_path
):
    results = shutil.copytree(bench.folder, tmp_path / "runs")
    seen = stages(results=results, **asked)
    assert "encode images" in seen
    assert trains == (not any(stage.startswith("trained before") for stage in seen))


def test_other_code_or_validation_rows_or_a_lost_result_train_again(
    stages, bench, tiny_dataset, tmp_path, monkeypatch
):
    results = shutil.copytree(bench.folder, tmp_path / "runs")
    other = {**tiny_dataset, "validation": tiny_dataset["test"]}
    assert "trained before" not in str(stages(results=results, data=other))
    for broken in results.glob("*.json"):  # killed before the result was written
        broken.write_text("{")
    assert "trained before" not in str(stages(results=results, split="train"))
    monkeypatch.setattr("benchmark.runner.plan.source_digest", lambda _name: "e" * 64)
    assert "trained before" not in str(stages(results=results))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("zero_shot", {}, "belongs to coop; give `method` coop"),
        ("coop", {"n_ctx": 4}, "contains its options; leave out `options`"),
    ],
)
def test_a_checkpoint_of_another_method_is_an_error(bench, run_tiny, method, options, message):
    with pytest.raises(FdrdError, match=message):
        run_tiny(method, checkpoint=bench.coop.with_suffix(".safetensors"), options=options)


def test_training_without_validation_rows_is_an_error(run_tiny, tiny_dataset):
    splits = {name: tiny_dataset[name] for name in ("train", "test")}
    with pytest.raises(FdrdError, match="no split 'validation'"):
        run_tiny("coop", splits)
    run_tiny("zero_shot", splits)


def test_the_text_only_baseline_is_in_the_tables(results):
    """One baseline for all methods, trained on the training split."""
    baselines = {json.dumps(_baselines_of(result)) for result in results}
    assert len(baselines) == 1
    (share,) = {result.metrics.hard_negatives["category"].text_only for result in results}
    head, row = _negatives_of(markdown(results), "category")
    assert row[head.index("text-only baseline")] == f"{100 * share:.0f}"
    lines = printed(table(results)).splitlines()
    line = next(line for line in lines if "attribute: color" in line)
    assert line.split()[-2] == f"{100 * _baselines_of(results[0])['attribute: color']:.0f}"


def test_other_training_rows_give_another_text_only_baseline_and_result(
    run_tiny, tiny_dataset, tmp_path
):
    """This holds even for zero-shot, which is not trained. A repeated run is found again."""
    test, train = tiny_dataset["test"], tiny_dataset["train"]
    for rows in (train, train.select(range(0, 24, 5)), train):
        found = run_tiny(data={"test": test, "train": rows}, results=tmp_path)
        assert found.settings.text_only_from == rows.fingerprint
    one, other = read_results(tmp_path)
    assert _baselines_of(one) != _baselines_of(other)
    named = dataclasses.replace(one, settings=dataclasses.replace(other.settings, method="other"))
    head, row = _negatives_of(markdown([named, other]), "category")
    assert row[head.index("text-only baseline")] == "–"  # the baselines disagree


def test_steps_and_memory_are_recorded_and_shown(result):
    """24 rows in batches of 8 for two epochs."""
    assert [epoch.step for epoch in result.fit.epochs] == [3, 6]
    assert (result.fit.steps, result.fit.best_step) == (6, 3 * result.fit.best_epoch)
    assert 0 < result.fit.untrained_mrr < 1
    assert result.peak_megabytes > 10
    (row,) = [line for line in markdown([result]).splitlines() if "| 128 |" in line]
    assert f"| 128 | 6 | 48 | {result.fit.best_step} |" in row


def _baselines_of(result):
    return {kind: share.text_only for kind, share in result.metrics.hard_negatives.items()}


def _negatives_of(page, kind):
    """Return head and one row of the table of hard negatives."""
    lines = page.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("| kind"))
    row = next(line for line in lines[head:] if line.startswith(f"| {kind}"))
    return [[cell.strip() for cell in each.strip("|").split("|")] for each in (lines[head], row)]


def test_the_commands_of_a_page_repeat_its_runs(results):
    page = markdown(results)
    assert (
        "$ fdrd bench --method coop --split test --data drawn --backbone tiny --seed 1 "
        "-M n_ctx=4 -T batch_size=8 -T epochs=2" in page
    )


def test_names_cannot_break_a_page_or_a_command(result):
    data = dataclasses.replace(result.settings.data, name="a|b\n# <script>; rm")
    settings = dataclasses.replace(result.settings, data=data)
    page = markdown([dataclasses.replace(result, settings=settings)])
    assert "## a\\|b \\# \\<script\\>; rm" in page
    assert "--data 'a|b\n# <script>; rm'" in command(settings)


def test_domains_have_a_gallery_each(run_tiny, make_row, make_dataset, make_drawing):
    """Captions are shared between the domains: apart they are no rivals, together they are."""
    rows = []
    for domain, place in (("near", "left"), ("far", "right")):
        for color in ("red", "blue"):
            image = make_drawing(color, "circle", place)
            rows.append(make_row(len(rows), image, f"a {color} circle", "circle", domain=domain))
    splits = {"test": make_dataset(rows, "test")}
    apart, joint, one = (
        run_tiny(data=splits, **asked).metrics
        for asked in ({}, {"gallery": "joint"}, {"domain": "far"})
    )
    assert apart.by_direction["image_to_text"]["ceiling R@1"] == 1
    assert joint.by_direction["image_to_text"]["ceiling R@1"] == 0
    assert set(apart.by_domain) == {"near", "far"}
    far = apart.by_domain["far"]["image_to_text"]
    assert one.by_direction["image_to_text"]["R@1"] == far["R@1"]


def test_a_run_without_hard_negatives_has_the_same_ranks_and_a_file_of_its_own(zero_shot, run_tiny):
    short = run_tiny(hard_negatives=False)
    assert zero_shot.metrics.hard_negatives
    assert short.metrics.hard_negatives == {}
    assert short.ranks == zero_shot.ranks
    assert short.settings.file_name() != zero_shot.settings.file_name()
    assert short.settings.text_only_from is None
    assert command(short.settings).endswith("--no-hard-negatives")
