"""Results and checkpoints of strangers: one line that names the file, or the numbers that the ranks give.

FDRD_TAMPERED sets how many random changes the slow test makes to each kind of file.
"""

import json
import os
import random
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from fuzz.driver import mutate

import benchmark
from benchmark.checkpoint import load_method, read_header, tensors_digest
from benchmark.experiments.execution import states
from benchmark.rank_metrics import DIRECTIONS
from benchmark.result import numbers, read_result, write_result
from benchmark.settings import MOST_SEED
from fdrd.errors import FdrdError
from fdrd.viewer.results import Runs
from tests.command import run_fdrd
from tests.ranked import with_ranks

TAMPERED = int(os.environ.get("FDRD_TAMPERED", "20"))


@pytest.fixture
def folder(bench, tmp_path):
    """Results of zero-shot and of CoOp, with its checkpoint, that a test may change."""
    for path in (bench.zero_shot, bench.coop, bench.coop.with_suffix(".safetensors")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


@pytest.fixture
def coop(folder, bench):
    return folder / bench.coop.name


@pytest.fixture
def checkpoint(coop):
    return coop.with_suffix(".safetensors")


@pytest.fixture
def rerun(run_tiny, folder):
    """Return a function that runs CoOp again, for its result and the stages of the run."""

    def rerun(results=folder, **asked):
        seen = []
        result = run_tiny(
            "coop",
            results=results,
            train={"epochs": 2, "batch_size": 8},
            progress=lambda stage, *_: seen.append(stage.partition(":")[0]),
            **asked,
        )
        return result, seen

    return rerun


def edit(path, *changes):
    """Set values of a JSON file, by their place."""
    value = json.loads(path.read_text())
    for place, new in changes:
        *parents, last = place.split(".")
        inside = value
        for name in parents:
            inside = inside[name]
        inside[last] = new
    path.write_text(json.dumps(value))


def report(form):
    return lambda folder: benchmark.report(folder, format=form)


READERS = [
    *map(report, ("markdown", "html", "latex", "csv")),
    benchmark.compare,
    lambda folder: Runs([folder]),
]


def refusal(call, *args, **options):
    """Return the message of the error that a call ends with, which is one line."""
    with pytest.raises(FdrdError) as refused:
        call(*args, **options)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 700
    return str(refused.value)


def ranks(count, first="1"):
    return " ".join([first, *["1"] * (count - 1)])


def shares(kind, **changes):
    return [(f"metrics.hard_negatives.{kind}.{name}", value) for name, value in changes.items()]


I2T, T2I = (f"metrics.by_direction.{way}" for way in DIRECTIONS)


ONES = [(f"ranks.{way}.{kind}", ranks(24)) for way in DIRECTIONS for kind in ("strict", "caption")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("ranks.image_to_text.strict", ranks(23))], "strict has 23 ranks, expected 24"),
        ([("ranks.image_to_text.strict", ranks(24, "25"))], "has rank 25 of 24 items for query 0"),
        ([("ranks.image_to_text.strict", ranks(24, "9" * 5000))], "matching regex"),
        ([("queries.image_of_row", "999999999999 0")], "matching regex"),
        ([("queries.image_of_row", "999999999 0")], "image_of_row does not name each of the numbers 0 to 23"),
        ([("queries.domain_of_image", ranks(24))], "domain_of_image does not name each of the numbers 0 to 0"),
        ([(f"{I2T}.values.MRR", 0.99)], "metrics.by_direction.image_to_text.MRR is 0.99, but the ranks"),
        ([(f"{I2T}.values.mean rank", 1)], "image_to_text.mean rank is 1"),
        ([(f"{I2T}.values.category R@1", 1.5)], "category R@1 is 1.5, which is no fraction"),
        ([(f"{I2T}.values.R@3", 1e300)], "`float` <= "),
        ([(f"{I2T}.queries", 10**15)], "image_to_text.queries is 1e+15"),
        ([(f"{I2T}.intervals.MRR", [0, 1])], "the interval of MRR is 0"),
        ([("metrics.by_direction.both.values.R-sum", 6)], "both.R-sum is 6"),
        ([("metrics.by_domain.shapes.image_to_text.values.MRR", 0.99)], "by_domain.'shapes'.image_to_text.MRR is 0.99"),
        ([("metrics.by_domain.other", {})], "missing image_to_text"),
        ([("metrics.by_category.circle.image_to_text.values", {})], "missing MRR"),
        ([("metrics.by_category.circle.image_to_text.values.MRR", 0.99)], "MRR of the categories does not agree"),
        ([("metrics.by_category.circle.text_to_image.queries", 9)], "counts more than 24 queries"),
        ([(f"{I2T}.values.expected R@10", 0)], "expected R@10 is below R@10"),
        ([("metrics.hard_negatives.category.accuracy", 0.777)], "'category'.accuracy is 0.777, which is no share of"),
        (shares("category", rows=25, accuracy=0.96, text_only=None), "counts more than 24 rows"),
        (shares("all", accuracy=1, text_only=None), "does not agree with `all`"),
        ([("natural_pairs.category.text", "1")], "natural_pairs.category.text has 1 digits for 16 rows"),
        ([("natural_pairs.category.image", "1" * 7 + "2")], "matching regex"),
        ([("natural_pairs.category.rows", "0 24")], "natural_pairs.category.text has 8 digits for 2 rows"),
        ([("natural_pairs.category", {"rows": "0 24", "text": "1", "image": "1"})], "rows has row 24 of 24"),
        ([("natural_pairs.category", {"rows": "2 2", "text": "1", "image": "1"})], "not in order"),
        ([("natural_pairs.category.caption_of_row", "1")], "caption_of_row does not agree with"),
        ([("negative_wins", "1" * 24)], "negative_wins has 1 words, expected 24"),
        ([("negative_wins", " ".join(["1", *"-" * 23]))], "negative_wins does not agree with metrics.hard_negatives"),
        ([("negative_wins", "2" * 24)], "matching regex"),
        ([("metrics.by_direction.category pairs.values.group", 0.77)], "category pairs.group is 0.77, but"),
        ([("metrics.hard_negatives.all.text_hard", 1)], "'all': `text_hard` or `text_hard_rows` does not agree"),
        ([("metrics.hard_negatives.all.text_hard_rows", 25)], "does not agree with the text-only baseline"),
        ([("settings.gallery", 99)], "settings.gallery is 99, of 24 images"),
        ([("settings.seed", -5)], "`int` >= 0"),
        ([("learned_parameters", 10**300)], "`$.learned_parameters`"),
        (ONES, "but the ranks give"),
    ],
)  # fmt: skip
def test_a_result_that_contradicts_itself_is_refused(coop, changes, message):
    edit(coop, *changes)
    said = refusal(read_result, coop)
    assert str(coop) in said
    assert message in said
    assert said.endswith("delete it to run again")


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_results_refuses_one_that_contradicts_itself(coop, folder, reader):
    edit(coop, (f"{I2T}.values.MRR", 0.99))
    said = refusal(reader, folder)
    assert str(coop) in said
    assert "image_to_text.MRR is 0.99" in said


def test_ranks_with_the_numbers_that_they_give_are_accepted(coop, tmp_path):
    """On both sides of the limit: the last item may be the first that is right, and no later one."""
    result = read_result(coop)
    result = replace(result, metrics=replace(result.metrics, by_category={}), natural_pairs={})
    last = with_ranks(result, [24] * 24, [1] * 24)
    write_result(last, tmp_path / "last.json")
    assert read_result(tmp_path / "last.json") == last
    with pytest.raises(FdrdError, match="rank 25 of 24 items"):
        write_result(with_ranks(result, [25] * 24, [1] * 24), tmp_path / "later.json")


def test_the_wins_of_each_negative_give_the_accuracy(coop):
    """One row more or less is refused; files of earlier releases have none."""
    result = read_result(coop)
    words = result.negative_wins.split()
    accuracy = result.metrics.hard_negatives["all"].accuracy
    assert sum("0" not in each for each in words) == round(24 * accuracy)
    row = next(n for n, each in enumerate(words) if "0" in each)
    words[row] = "1" * len(words[row])
    edit(coop, ("negative_wins", " ".join(words)))
    assert "negative_wins does not agree" in refusal(read_result, coop)
    edit(coop, ("negative_wins", ""))
    assert read_result(coop) == replace(result, negative_wins="")


def test_a_small_file_makes_nothing_large(coop, monkeypatch):
    """Numbers of the file never become lengths."""
    edit(coop, ("queries.image_of_row", "999999999 " * 23 + "999999999"))
    monkeypatch.setattr(np, "bincount", lambda *_a, **_k: pytest.fail("allocated by a number"))
    refusal(read_result, coop)


# A finished run


def test_a_foreign_file_under_the_name_of_a_run_is_refused(
    coop, bench, rerun, tiny_clip, tiny_dataset
):
    shutil.copy(bench.zero_shot, coop)
    assert f"{coop} is not the result of this run (different method, code, options" in refusal(
        rerun
    )
    methods, learn = ["zero_shot", ("coop", {"n_ctx": 4})], {"epochs": 2, "batch_size": 8}
    found = benchmark.evaluate(
        methods, tiny_dataset, backbone=tiny_clip, results=coop.parent, **learn
    )
    assert list(found) == ["zero_shot"]
    assert list(found.failed) == ["coop (n_ctx=4)"]


@pytest.mark.parametrize(
    ("place", "value", "different"),
    [
        ("settings.data.fingerprint", "a" * 64, "data"),
        ("settings.backbone.fingerprint", "a" * 64, "backbone"),
        ("settings.code", "a" * 64, "code"),
        ("settings.options.n_ctx", 8, "options"),
        ("settings.train.epochs", 9, "train"),
        ("settings.seed", 3, "seed"),
        ("settings.learned_from.train", "a" * 64, "learned_from"),
    ],
)
def test_an_edited_file_is_not_a_finished_run(coop, rerun, place, value, different):
    edit(coop, (place, value))
    message = f"{coop} is not the result of this run (different {different}); delete it"
    assert message in refusal(rerun)
    coop.unlink()
    result, _ = rerun()
    assert read_result(coop) == result


def test_names_and_labels_may_differ(coop, rerun):
    names = ("settings.label", "CoOp"), ("settings.data.name", "elsewhere")
    edit(coop, (f"{I2T}.values.R@3", 0), *names)
    result, seen = rerun()
    (only,) = seen
    assert (result.settings.label, only.partition(" | ")[0]) == ("CoOp", "finished")


def test_queries_of_other_data_are_not_those_of_the_run(coop, rerun):
    result = read_result(coop)
    metrics = replace(result.metrics, by_category={})
    queries = replace(result.queries, image_of_row=" ".join(map(str, reversed(range(24)))))
    result = replace(result, queries=queries, metrics=metrics)
    write_result(with_ranks(result, [1] * 24, [1] * 24), coop)
    assert "(different queries)" in refusal(rerun)


@pytest.mark.parametrize("suffix", [".json", ".safetensors", ".partial.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_training(
    coop, checkpoint, rerun, suffix, monkeypatch
):
    monkeypatch.setattr("benchmark.runner.runs.train", lambda _plan: pytest.fail("trained"))
    coop.unlink()
    checkpoint.unlink()
    occupied = coop.with_suffix(suffix)
    occupied.mkdir()
    assert f"{occupied} is a folder" in refusal(rerun)
    assert "is a folder" in refusal(rerun, occupied / "..")
    file = coop.with_name("file")
    file.touch()
    assert "file is not a folder; give `results`" in refusal(rerun, file)


def test_a_dry_run_names_a_broken_file(coop):
    content = {"data": "drawn", "methods": ["coop"], "results": str(coop.parent)}
    experiment = benchmark.to_experiment(content)
    assert [state for _, state in states(experiment)] == ["to do"]
    edit(coop, ("metrics.by_direction.both.values.R-sum", 6))
    assert str(coop) in refusal(states, experiment)


# Seeds


@pytest.mark.parametrize("seed", [-5, 2**70])
def test_an_impossible_seed_is_refused_before_the_first_run(
    run_tiny, tiny_clip, tiny_dataset, seed
):
    asked = {"backbone": tiny_clip, "seeds": [0, seed]}
    said = refusal(benchmark.evaluate, ["zero_shot", "coop"], tiny_dataset, **asked)
    assert said == f"seed {seed}: must be between 0 and {MOST_SEED}"
    assert str(seed) in refusal(run_tiny, "coop", seed=seed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 10**12}, "seeds: expected `int` <= 10000"),
        ({"seeds": 10_001}, "seeds: expected `int` <= 10000"),
        ({"seeds": 2**70}, "seeds"),
        ({"seeds": [0, -1]}, "seeds[1]: expected `int` >= 0"),
        ({"seeds": [MOST_SEED + 1]}, f"expected `int` <= {MOST_SEED}"),
        ({"tuning": {"steps": 1, "seed": -1}}, "tuning.seed: expected `int` >= 0"),
    ],
)
def test_impossible_seeds_of_an_experiment_are_refused(changes, message):
    content = {"data": "d", "methods": ["zero_shot"], **changes}
    assert message in refusal(benchmark.to_experiment, content)


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", -5), ("seed", 2**70), ("seed", MOST_SEED + 1), ("seeds", 10**12), ("seeds", 0)],
)
def test_the_command_line_refuses_a_seed_before_it_looks_at_the_data(option, value, monkeypatch):
    monkeypatch.setattr("fdrd.commands.bench._data_and_methods", pytest.fail)
    code, _, said = run_fdrd("bench", "none", "--method", "coop", f"--{option}", value)
    assert code == 2
    assert f"Invalid value for '--{option}'" in said
    assert "Traceback" not in said


def test_seeds_up_to_the_limits_are_taken():
    content = {"data": "d", "methods": ["random"]}
    assert len(benchmark.to_experiment({**content, "seeds": 10_000}).cells()) == 10_000
    (cell,) = benchmark.to_experiment({**content, "seeds": [MOST_SEED]}).cells()
    assert cell.seed == MOST_SEED


def test_an_experiment_of_too_many_cells_is_refused_before_they_are_listed():
    protocols = [{"shots": [*range(1, 1001)], "gallery": [*range(2, 1002)]}]
    content = {"data": "d", "methods": ["random"], "seeds": 10_000, "protocols": protocols}
    experiment = benchmark.to_experiment(content)
    assert "more than 100,000 combinations" in refusal(experiment.cells)


# Checkpoints


def rewrite(path, learned=None, **header):
    """Write a checkpoint again, with the digest of its tensors, unless `header` has one."""
    old = read_header(path)
    learned = safetensors.torch.load_file(path) if learned is None else learned
    tensors = header.pop("tensors", tensors_digest(learned))
    value = {"settings": {**asdict(old.settings), **header}, "tensors": tensors}
    path.write_bytes(safetensors.torch.save(learned, {"fdrd": json.dumps(value)}))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"options": {"n_ctx": 10**9}}, "n_ctx=1000000000: must be between 1 and 21"),
        ({"options": {"n_ctx": 22}}, "n_ctx=22: must be between 1 and 21"),
        ({"options": {"n_ctx": 2**70}}, "must be between 1 and 21"),
        ({"options": {"n_ctx": [1]}}, "$.settings.options"),
        ({"options": {"ctx_init": "word " * 10_000}}, "$.settings.options"),
        ({"options": {"depth": 3}}, "coop has no option 'depth'"),
        ({"seed": 10**30}, "$.settings.seed"),
        ({"seed": -3}, "$.settings.seed"),
        ({"train": {"epochs": "x"}}, "$.settings.train.epochs"),
        ({"train": {"epochs": -1}}, "epochs=-1: must be at least 1"),
        ({"backbone": {"name": "tiny", "fingerprint": "f"}}, "$.settings.backbone.fingerprint"),
        ({"backbone": {"name": "x" * 5000, "fingerprint": "0" * 64}}, "$.settings.backbone.name"),
        ({"label": "x" * 5000}, "$.settings.label"),
        ({"method": "x" * 5000}, "$.settings.method"),
        ({"method": ["coop"]}, "is not a checkpoint of this version of fdrd"),
        ({"tensors": "0" * 64}, "its tensors are not those that were trained"),
        ({"tensors": None}, "$.tensors"),
    ],
)
def test_a_header_is_checked_like_a_command_line(checkpoint, run_tiny, tiny_clip, header, message):
    rewrite(checkpoint, **header)
    assert message in refusal(load_method, checkpoint, backbone=tiny_clip)
    assert message in refusal(run_tiny, "coop", checkpoint=checkpoint)


def test_a_checkpoint_of_an_unknown_method_names_it(checkpoint, tiny_clip):
    rewrite(checkpoint, method="theirs")
    assert "no method 'theirs'" in refusal(load_method, checkpoint, backbone=tiny_clip)


@pytest.mark.parametrize(
    ("method", "option", "value", "limits"),
    [
        ("vpt", "n_vis", 10**9, "between 1 and 1000"),
        ("maple", "n_ctx", 10**9, "between 1 and 1000"),
        ("tcp", "n_ctx", 10**9, "between 1 and 21"),
        ("mmrl", "n_tokens", 10**9, "between 1 and 1000"),
        ("mmrl", "width", 10**9, "between 1 and 8192"),
        ("clip_adapter", "reduction", 1e-9, "at least 0.01"),
        ("lora", "rank", 10**9, "between 1 and 1024"),
    ],
)
def test_no_option_allocates_without_limit(checkpoint, tiny_clip, method, option, value, limits):
    rewrite(checkpoint, method=method, options={option: value})
    message = refusal(load_method, checkpoint, backbone=tiny_clip)
    assert f"{option}={value}: must be {limits}" in message


def changed(tensors, change):
    return {name: change(value) for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda each: changed(each, lambda x: (x * 9).int()),
            "torch.int32, expected torch.float32",
        ),
        (lambda each: changed(each, torch.Tensor.double), "torch.float64, expected torch.float32"),
        (lambda each: changed(each, lambda x: x[:1]), "size mismatch"),
        (lambda each: {**each, "more": torch.zeros(1)}, "Unexpected key(s)"),
        (lambda _: {"other": torch.zeros(1)}, "Missing key(s)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_in_one_line(checkpoint, tiny_clip, change, message):
    rewrite(checkpoint, change(safetensors.torch.load_file(checkpoint)))
    said = refusal(load_method, checkpoint, backbone=tiny_clip)
    assert f"{checkpoint} does not fit coop" in said
    assert message in said


def test_replaced_tensors_are_not_what_was_trained_before(coop, checkpoint, folder, rerun):
    """Under the old digest they are refused; under their own they are not those of the result, so CoOp trains."""
    genuine, seen = rerun(shutil.copytree(folder, folder / "genuine"), split="validation")
    assert "trained before" in seen
    other = changed(safetensors.torch.load_file(checkpoint), torch.rand_like)
    rewrite(checkpoint, other, tensors=read_result(coop).learned)
    assert f"{checkpoint}: its tensors are not those" in refusal(rerun, split="validation")
    rewrite(checkpoint, other)
    result, seen = rerun(split="validation")
    assert "trained before" not in seen
    assert (result.ranks, result.learned) == (genuine.ranks, genuine.learned)


def test_a_checkpoint_of_another_version_is_reported_and_trained_again(checkpoint, rerun):
    tensors = safetensors.torch.load_file(checkpoint)
    checkpoint.write_bytes(safetensors.torch.save(tensors, {"fdrd": "{}"}))
    _, seen = rerun(split="validation")
    assert f"{checkpoint} is from another version, or damaged; training again" in seen


def test_a_result_holds_the_digest_of_what_was_learned(coop, checkpoint, zero_shot, run_tiny):
    digest = tensors_digest(safetensors.torch.load_file(checkpoint))
    assert read_header(checkpoint).tensors == read_result(coop).learned == digest
    assert run_tiny("coop", checkpoint=checkpoint).learned == digest
    assert zero_shot.learned is None


def test_the_digest_covers_names_types_shapes_and_values():
    one = {"a": torch.arange(6.0), "b": torch.tensor(True)}
    others = [
        {"a": one["a"], "c": one["b"]},
        {**one, "a": one["a"].reshape(2, 3)},
        {**one, "a": one["a"].to(torch.bfloat16)},
        {**one, "a": one["a"].flip(0)},
        {**one, "b": torch.tensor(False)},
    ]
    assert len({tensors_digest(each) for each in [one, *others]}) == 6
    assert tensors_digest(dict(reversed(one.items()))) == tensors_digest(one)


# Random changes


CHANGES = [
    *(torch.rand_like, torch.zeros_like, torch.Tensor.half, torch.Tensor.int),
    lambda each: each[:0],
]


def ends_well(call, *args, **options):
    """Return what a call returns; None if it ends in an `FdrdError` of one short line."""
    try:
        return call(*args, **options)
    except FdrdError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1500
    return None


def mrrs(result):
    """Return the MRR that a result states, and the one of its ranks, by direction."""
    stated = {way: result.metrics.by_direction[way]["MRR"] for way in DIRECTIONS}
    found = {way: float(np.mean(1 / numbers(result.ranks[way].strict))) for way in DIRECTIONS}
    return stated, found


@pytest.mark.slow
@pytest.mark.parametrize("number", range(TAMPERED))
def test_a_tampered_result_ends_in_one_line_or_the_right_numbers(coop, bench, rerun, number):
    coop.write_bytes(mutate(b" " + coop.read_bytes(), random.Random(number))[1:])
    read = ends_well(read_result, coop)
    for reader in READERS:
        assert (ends_well(reader, coop.parent) is None) or read is not None
    if read is not None:
        stated, found = mrrs(read)
        assert stated == pytest.approx(found)
    before, again = read_result(bench.coop), ends_well(rerun)
    if again is not None:
        assert (again[0].ranks, mrrs(again[0])) == (before.ranks, mrrs(before))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(TAMPERED))
def test_a_tampered_checkpoint_ends_in_one_line_or_the_right_numbers(
    coop, checkpoint, bench, rerun, run_tiny, number
):
    draw = random.Random(number)
    before = read_result(bench.coop)
    tensors = safetensors.torch.load_file(checkpoint)
    header = json.dumps(asdict(read_header(checkpoint)))
    how = draw.randrange(3)
    if how == 0:  # the header, under the same tensors
        header = mutate(b" " + header.encode(), draw)[1:].decode(errors="replace")
    elif how == 1:
        name = draw.choice(list(tensors))
        tensors[name] = draw.choice(CHANGES)(tensors[name])
    content = safetensors.torch.save(tensors, {"fdrd": header})
    if how == 2:
        content = mutate(b" " + content, draw)[1:]
    checkpoint.write_bytes(content)
    measured = ends_well(run_tiny, "coop", checkpoint=checkpoint)
    coop.unlink()  # CoOp trains again, unless the checkpoint is that of another result
    again = ends_well(rerun)
    for found in [measured, again and again[0]]:
        if found is not None:
            assert (found.ranks, found.learned) == (before.ranks, before.learned)
