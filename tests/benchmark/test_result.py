"""Result files: checked when written and read, found again, printed as tables."""

import copy
import dataclasses
import json

import pytest
from rich.console import Console

from benchmark.reporting.pages import markdown, table
from benchmark.reporting.sentences import command
from benchmark.result import read_result, read_results, write_result
from fdrd.errors import FdrdError
from fdrd.kinds import kind_of
from tests.running import run_method

QUICK = {"epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def folder(tiny_clip, tiny_dataset, tmp_path_factory):
    """Results of zero-shot, and of CoOp with two seeds."""
    home = tmp_path_factory.mktemp("runs")
    run_method("zero_shot", tiny_dataset, backbone=tiny_clip, results=home)
    for seed in (0, 1):
        run_method(
            "coop",
            tiny_dataset,
            backbone=tiny_clip,
            results=home,
            seed=seed,
            options={"n_ctx": "4"},
            train=QUICK,
        )
    return home


@pytest.fixture
def results(folder):
    return read_results(folder)


@pytest.fixture
def result(results):
    return next(each for each in results if each.settings.method == "coop")


def test_a_result_is_the_same_after_writing_and_reading(result, tmp_path):
    write_result(result, tmp_path / "r.json")
    assert read_result(tmp_path / "r.json") == result
    assert kind_of(tmp_path / "r.json") == "result"
    assert kind_of(tmp_path) == "results"


def change(value, path, new):
    changed = copy.deepcopy(value)
    *parents, last = path.split(".")
    place = changed
    for name in parents:
        place = place[name]
    place[last] = new
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 99),
        ("settings.split", "dev"),
        ("settings.shots", 0),
        ("settings.gallery", "all"),
        ("settings.train.optimizer", "adam"),
        ("settings.data.fingerprint", "abc"),
        ("metrics.by_direction.image_to_text.values.MRR", 1.5),
        ("metrics.by_direction.image_to_text.queries", 0),
        ("metrics.by_direction.text_to_image.values.ceiling R@1", 1.5),
        ("ranks.image_to_text.strict", "0 1"),
        ("seconds.fit", -1),
        ("versions.torch", 2),
    ],
)
def test_an_error_names_the_file_and_the_field(result, tmp_path, path, value):
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(change(result.to_dict(), path, value)))
    with pytest.raises(FdrdError) as refused:
        read_result(file)
    assert "broken.json: " in str(refused.value)
    known = str(refused.value).partition("`$.")[2].partition("`")[0]
    fields = [field.strip("[.]") for field in known.replace("[", ".[").split(".") if field]
    assert len(fields) >= len(path.split(".")) - 1
    assert all(named in ("", field) for named, field in zip(fields, path.split("."), strict=False))


def test_missing_keys_are_named(result, tmp_path):
    value = result.to_dict()
    del value["metrics"]["by_domain"]["shapes"]["text_to_image"], value["ranks"]["text_to_image"]
    (tmp_path / "broken.json").write_text(json.dumps(value))
    with pytest.raises(FdrdError, match=r"broken\.json: missing text_to_image - at `\$\.metrics`"):
        read_result(tmp_path / "broken.json")


def test_fields_of_a_later_release_are_ignored(result, tmp_path):
    (tmp_path / "new.json").write_text(json.dumps(change(result.to_dict(), "settings.extra", 1)))
    assert read_result(tmp_path / "new.json") == result


def test_numbers_that_json_cannot_hold_are_not_written(result, tmp_path):
    broken = dataclasses.replace(result, seconds={**result.seconds, "fit": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(broken, tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


def test_a_truncated_file_is_an_error(folder, tmp_path):
    whole = next(folder.glob("*.json")).read_text()
    (tmp_path / "half.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(FdrdError, match=r"half.json is not a result file .*delete it"):
        read_results(tmp_path)


def test_an_empty_folder_of_results_names_the_command_that_writes_them(tmp_path):
    with pytest.raises(FdrdError, match="holds no results; `fdrd bench` writes them"):
        read_results(tmp_path)


def test_ranks_are_kept_query_by_query(result):
    ranks = [int(rank) for rank in result.ranks["image_to_text"].strict.split()]
    assert len(ranks) == 24
    found = sum(rank <= 5 for rank in ranks) / 24
    assert found == pytest.approx(result.metrics.by_direction["image_to_text"]["R@5"])


def test_options_are_kept_resolved_and_as_given(result):
    assert result.settings.options == {"n_ctx": 4, "ctx_init": "a photo of a", "loss": "symmetric"}
    assert result.settings.options_given == {"n_ctx": 4}
    assert result.settings.train.learning_rate == 0.002
    assert result.settings.train_given == QUICK
    assert result.learned_parameters == 4 * 32


def stages(folder, tiny_clip, splits, method="coop", **options):
    seen = []
    run_method(
        method,
        splits,
        backbone=tiny_clip,
        results=folder,
        progress=lambda stage, _done, _total: seen.append(stage),
        **options,
    )
    return list(dict.fromkeys(stage.partition(" | ")[0] for stage in seen))


def test_a_finished_run_is_not_repeated(folder, tiny_clip, tiny_dataset):
    """Whether an option is typed as text, as a number, or is the default."""
    options = {"n_ctx": 4, "loss": "symmetric"}
    (only,) = stages(folder, tiny_clip, tiny_dataset, options=options, train=QUICK)
    assert only == "finished"  # and nothing before it


@pytest.mark.parametrize(
    "asked",
    [
        {"seed": 2},
        {"options": {"n_ctx": 3}},
        {"train": {"epochs": 1}},
        {"shots": 4},
        {"split": "validation"},
        {"gallery": "joint"},
        {"gallery": 6},
    ],
)
def test_settings_that_change_the_numbers_start_a_run(
    folder, tiny_clip, tiny_dataset, asked, tmp_path
):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    asked = {"options": {"n_ctx": 4}, "train": QUICK, **asked}
    assert "encode images" in stages(tmp_path, tiny_clip, tiny_dataset, **asked)


def test_a_seed_without_effect_does_not_start_another_run(folder, tiny_clip, tiny_dataset):
    (only,) = stages(folder, tiny_clip, tiny_dataset, method="zero_shot", seed=7, train=QUICK)
    assert only == "finished"  # and nothing before it


def test_a_checkpoint_gives_the_numbers_of_its_training(folder, result, tiny_clip, tiny_dataset):
    (checkpoint, _) = sorted(folder.glob("*.safetensors"))
    again = run_method("coop", tiny_dataset, backbone=tiny_clip, checkpoint=checkpoint)
    trained = [each.ranks for each in read_results(folder) if each.settings.method == "coop"]
    assert again.ranks in trained
    assert again.fit is None
    assert again.settings.options["n_ctx"] == 4


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("zero_shot", {}, "belongs to coop; give `method` coop"),
        ("coop", {"n_ctx": 4}, "contains its options; leave out `options`"),
    ],
)
def test_a_checkpoint_of_another_method_is_an_error(
    folder, tiny_clip, tiny_dataset, method, options, message
):
    checkpoint = next(folder.glob("*.safetensors"))
    with pytest.raises(FdrdError, match=message):
        run_method(method, tiny_dataset, backbone=tiny_clip, checkpoint=checkpoint, options=options)


def test_training_without_validation_rows_is_an_error(tiny_clip, tiny_dataset):
    splits = {name: tiny_dataset[name] for name in ("train", "test")}
    with pytest.raises(FdrdError, match="no split 'validation'"):
        run_method("coop", splits, backbone=tiny_clip)
    run_method("zero_shot", splits, backbone=tiny_clip)


def printed(results, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(table(results))
    return console.export_text()


def test_the_table_has_a_line_for_every_method(results):
    text = printed(results)
    assert "zero_shot" in text
    assert "coop" in text
    assert "ceiling" in text
    assert "±" in text  # two seeds of CoOp


def test_the_text_only_baseline_is_in_the_tables(results):
    """One baseline for all methods, trained on the training split."""
    baselines = {json.dumps(_baselines_of(result)) for result in results}
    assert len(baselines) == 1
    (share,) = {result.metrics.hard_negatives["category"].text_only for result in results}
    head, row = _negatives_of(markdown(results), "category")
    assert row[head.index("text-only baseline")] == f"{100 * share:.0f}"
    lines = printed(results).splitlines()
    line = next(line for line in lines if "attribute: color" in line)
    assert line.split()[-2] == f"{100 * _baselines_of(results[0])['attribute: color']:.0f}"


def test_other_training_rows_give_another_text_only_baseline_and_result(
    tiny_clip, tiny_dataset, tmp_path
):
    """This holds even for zero-shot, which is not trained. A repeated run is found again."""
    test, train = tiny_dataset["test"], tiny_dataset["train"]
    fewer = train.select(range(0, len(train), 5))
    for rows in (train, fewer, train):
        found = run_method(
            "zero_shot", {"test": test, "train": rows}, backbone=tiny_clip, results=tmp_path
        )
        assert found.settings.text_only_from == rows.fingerprint
    results = read_results(tmp_path)
    assert len(results) == 2
    baselines = [_baselines_of(result) for result in results]
    assert baselines[0] != baselines[1]
    named = [dataclasses.replace(results[1].settings, method="other"), results[0].settings]
    both = [
        dataclasses.replace(each, settings=said) for each, said in zip(results, named, strict=True)
    ]
    head, row = _negatives_of(markdown(both), "category")
    assert row[head.index("text-only baseline")] == "–"  # the baselines disagree


def test_steps_and_memory_are_recorded_and_shown(result):
    """24 rows in batches of 8 for two epochs."""
    assert [epoch.step for epoch in result.fit.epochs] == [3, 6]
    assert (result.fit.steps, result.fit.best_step) == (6, 3 * result.fit.best_epoch)
    assert 0 < result.fit.untrained_mrr < 1
    assert result.peak_megabytes > 10
    (row,) = [line for line in markdown([result]).splitlines() if "| 128 |" in line]
    assert f"| 128 | 6 | 48 | {result.fit.best_step} |" in row


def test_a_result_of_version_1_is_an_error_with_a_remedy(result, tmp_path):
    value = {**result.to_dict(), "schema_version": 1}
    for share in value["metrics"]["hard_negatives"].values():
        del share["text_only"]
    (tmp_path / "old.json").write_text(json.dumps(value))
    with pytest.raises(FdrdError, match=r"old.json: .*another version .* delete it to run again"):
        read_results(tmp_path)


def _baselines_of(result):
    return {kind: share.text_only for kind, share in result.metrics.hard_negatives.items()}


def _negatives_of(page, kind):
    """Head and one row of the table of hard negatives."""
    lines = page.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("| kind"))
    row = next(line for line in lines[head:] if line.startswith(f"| {kind}"))
    return tuple(
        [cell.strip() for cell in line.strip("|").split("|")] for line in (lines[head], row)
    )


def with_recall(result, value):
    side = result.metrics.by_direction["text_to_image"]
    side = dataclasses.replace(side, values=side.values | {"R@1": value})
    by_direction = result.metrics.by_direction | {"text_to_image": side}
    metrics = dataclasses.replace(result.metrics, by_direction=by_direction)
    return dataclasses.replace(result, metrics=metrics)


def test_numbers_below_zero_shot_are_marked(results):
    zero_shot = next(each for each in results if each.settings.method == "zero_shot")
    coop = next(each for each in results if each.settings.method == "coop")
    page = markdown([with_recall(zero_shot, 0.5), with_recall(coop, 0.25)])
    row = next(line for line in page.splitlines() if line.startswith("| coop"))
    assert "| 25▼ |" in row
    better = markdown([with_recall(zero_shot, 0.25), with_recall(coop, 0.5)])
    row = next(line for line in better.splitlines() if line.startswith("| coop"))
    assert "| 50 |" in row


def test_without_zero_shot_nothing_is_marked(result):
    assert "▼" not in markdown([result])


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


def test_domains_have_a_gallery_each(tiny_clip, make_row, make_dataset, make_drawing):
    """Captions are shared between the domains: apart they are no rivals, together they are."""
    rows = []
    for domain, place in (("near", "left"), ("far", "right")):
        for color in ("red", "blue"):
            image = make_drawing(color, "circle", place)
            rows.append(make_row(len(rows), image, f"a {color} circle", "circle", domain=domain))
    splits = {"test": make_dataset(rows, "test")}
    apart = run_method("zero_shot", splits, backbone=tiny_clip).metrics
    joint = run_method("zero_shot", splits, backbone=tiny_clip, gallery="joint").metrics
    one = run_method("zero_shot", splits, backbone=tiny_clip, domain="far").metrics
    assert apart.by_direction["image_to_text"]["ceiling R@1"] == 1
    assert joint.by_direction["image_to_text"]["ceiling R@1"] == 0
    assert set(apart.by_domain) == {"near", "far"}
    assert (
        one.by_direction["image_to_text"]["R@1"] == apart.by_domain["far"]["image_to_text"]["R@1"]
    )


def test_a_run_without_hard_negatives_has_the_same_ranks_and_a_file_of_its_own(
    tiny_dataset, tiny_clip
):
    full = run_method("zero_shot", tiny_dataset, backbone=tiny_clip)
    short = run_method("zero_shot", tiny_dataset, backbone=tiny_clip, hard_negatives=False)
    assert full.metrics.hard_negatives
    assert short.metrics.hard_negatives == {}
    assert short.ranks == full.ranks
    assert short.settings.file_name() != full.settings.file_name()
    assert short.settings.text_only_from is None
    assert command(short.settings).endswith("--no-hard-negatives")
