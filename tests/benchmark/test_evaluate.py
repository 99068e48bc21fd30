"""`benchmark.evaluate`: several methods and seeds, what its results offer, and what methods accept."""

import inspect
from dataclasses import replace

import pytest

import benchmark
import fdrd
from benchmark.models import loading
from benchmark.registry import make_method
from benchmark.result import read_result
from benchmark.runner.description import Resources, Run
from benchmark.runner.runs import execute
from benchmark.settings import TrainConfig, TrainOptions
from fdrd.errors import FdrdError
from fdrd.options import ALIASES


@pytest.fixture(scope="module")
def evaluate(tiny_clip, tiny_dataset):
    return lambda methods, **asked: benchmark.evaluate(
        methods, tiny_dataset, **{"backbone": tiny_clip, **asked}
    )


@pytest.fixture(scope="module")
def res(evaluate, tmp_path_factory):
    methods = ["zero_shot", ("clip_adapter", {"ratio": 0.5})]
    return evaluate(methods, seeds=2, results=tmp_path_factory.mktemp("runs"), epochs=1, lr=0.1)


def test_results_are_found_by_method_and_averaged_over_seeds(res):
    assert list(res) == ["zero_shot", "clip_adapter"]
    assert [each.settings.seed for each in res["clip_adapter"]] == [0, 1]
    mrrs = [result[f"{way} MRR"] for result in res["clip_adapter"] for way in ("I2T", "T2I")]
    assert res["clip_adapter"].mrr == pytest.approx(sum(mrrs) / 4)
    assert res["clip_adapter"][0].settings.train.learning_rate == 0.1
    assert res["clip_adapter"][0].settings.options["ratio"] == 0.5
    with pytest.raises(KeyError, match="did you mean 'clip_adapter'"):
        res["clip_adaptor"]


def test_rows_of_one_method_are_told_apart_by_their_options(evaluate):
    found = evaluate([("coop", {"n_ctx": 1}), ("coop", {"n_ctx": 2})], epochs=1)
    names = ["coop (epochs=1, n_ctx=1)", "coop (epochs=1, n_ctx=2)"]
    assert list(found) == names
    assert found[names[1]][0].settings.options["n_ctx"] == 2
    with pytest.raises(KeyError, match="2 rows are of coop"):
        found["coop"]


def test_results_convert_compare_plot_and_report(res, tmp_path):
    assert len(res.to_pandas()) == 3
    (tests,) = res.compare("zero_shot").comparisons
    assert [row.method for row in tests.others] == ["clip_adapter"]
    paths = res.plot().save(tmp_path / "plots")
    assert paths
    starts = {".svg": b"<", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert {path.suffix for path in paths} == starts.keys()
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in paths)
    assert "clip_adapter" in res.report()
    page = res.report(tmp_path / "report.html")  # not its text, which a notebook would print
    assert "clip_adapter" in page.read_text()


@pytest.mark.parametrize("name", ["zero_shot", "clip_adapter"])
def test_a_method_is_loaded_from_its_results(res, name, tiny_clip, evaluate):
    method = benchmark.load_method(res[name], backbone=tiny_clip)
    features = method.encode_text(["a red circle"])
    assert repr(features).startswith(f"Features(pooled (1, {features.pooled.shape[1]})")
    assert len(repr(method)) < 100
    trained = name == "clip_adapter"
    plain = tiny_clip.encode_text(["a red circle"])
    assert trained == (not (features.pooled == plain.pooled).all())
    if trained:
        again = evaluate(name, epochs=1)
        with pytest.raises(FdrdError, match="was not saved; give `results` a folder"):
            benchmark.load_method(again[name], backbone=tiny_clip)


@pytest.mark.parametrize("name", ["zero_shot", "random", "coop", "nnn"])
def test_a_text_is_one_caption_and_an_image_one_image(name, tiny_clip, tiny_dataset):
    method = make_method(name, {}, backbone=tiny_clip, seed=0)
    image = tiny_dataset["test"].images([0])[0]
    if name == "nnn":
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    for encoder in (method, tiny_clip):
        for encode, one in ((encoder.encode_text, "a circle"), (encoder.encode_image, image)):
            assert len(encode(one)) == 1
            assert (encode(one).pooled == encode([one]).pooled).all()


def test_objects_have_short_texts_and_tables(res):
    first, compared = res["clip_adapter"][0], res.compare("zero_shot")
    for each in (res, res["zero_shot"], res["clip_adapter"], first, compared, res.plot()):
        assert len(repr(each).splitlines()) <= 10
        assert len(repr(each)) < 1000
        assert "<" in each._repr_html_()
    settings = [replace(first.settings, label=f"row {n}") for n in range(20)]
    rows = [replace(first, settings=each) for each in settings]
    many = benchmark.Results(rows, {"maple": FdrdError("no layers")})
    assert len(repr(many).splitlines()) == 9
    assert "and 14 more" in repr(many)
    assert "no layers" in many._repr_html_()


def test_signatures_are_true():
    signature = inspect.signature(benchmark.evaluate)
    assert list(signature.parameters)[1] == "data"
    assert signature.return_annotation == "Results"
    config = set(inspect.signature(TrainConfig).parameters)
    assert set(TrainOptions.__annotations__) == config | ALIASES.keys()
    shown = inspect.signature(benchmark.evaluate).parameters
    assert config < shown.keys()
    assert shown["epochs"].default == TrainConfig().epochs
    shown = inspect.signature(fdrd.build).parameters
    assert (shown["seed"].default, shown["layout"].annotation) == (0, "str")


def test_a_checkpoint_is_measured_instead_of_a_training(res, evaluate):
    trained, points = res["clip_adapter"], []
    observers = [lambda *point: points.append(point)]
    found = evaluate("clip_adapter", checkpoint=trained.checkpoint, observers=observers)
    (result,) = found.results
    assert result.ranks == trained[0].ranks
    assert result.settings.options == trained[0].settings.options
    assert result.fit is None
    assert points == []  # nothing was trained


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": "clip_adaptor"}, "did you mean 'clip_adapter'"),
        ({"epoch": 1}, "training has no option 'epoch'; did you mean 'epochs'"),
        ({"shots": 0}, "^`shots` 0: must be at least 1"),
        ({"split": "dev"}, "no split 'dev'"),
        ({"methods": ("coop", {"n_ctxt": 1})}, "did you mean 'n_ctx'"),
    ],
)
def test_a_mistake_is_an_error_in_terms_of_python(asked, message, evaluate):
    with pytest.raises(FdrdError, match=message):
        evaluate(**{"methods": "coop", **asked})


def test_the_weights_are_read_once_and_silently(tmp_path, saved_clip, evaluate, monkeypatch, capfd):
    capfd.readouterr()
    loads = []
    load = loading.load_backbone
    monkeypatch.setattr(loading, "load_backbone", lambda *a, **k: loads.append(a) or load(*a, **k))
    folders = {"backbone": str(saved_clip), "cache": tmp_path / "cache"}
    evaluate(["zero_shot", "nnn", "random"], seeds=2, **folders)
    assert len(loads) == 1
    assert capfd.readouterr().err == ""


def test_a_finished_run_answers_other_names_for_the_same_thing(res, run_tiny):
    (before,) = res["zero_shot"]
    again = run_tiny("zero_shot", shots=3, results=res.folder)
    assert again.ranks == before.ranks
    assert len(again.settings.asked) == 2
    assert benchmark.read_result(res.folder / again.settings.file_name()) == again


def test_a_result_that_is_reused_gets_the_label_of_its_run(tiny_clip, tiny_dataset, tmp_path):
    resources = Resources(tiny_dataset, tiny_clip, tmp_path)
    first = execute(Run(method="zero_shot", label="first"), resources)
    again = execute(Run(method="zero_shot", label="second"), resources)
    assert (first.settings.label, again.settings.label) == ("first", "second")
    assert execute(Run(method="zero_shot"), resources).settings.label == "second"
    (file,) = tmp_path.glob("*.json")
    assert read_result(file).settings.label == "second"
