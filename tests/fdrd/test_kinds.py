"""A path of another kind is answered with its kind and the command that takes it, by every command."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import fdrd
from fdrd.kinds import KINDS, kind_of
from tests.command import run_fdrd


@pytest.fixture
def paths(tmp_path, draw, monkeypatch):
    """Return a path of each kind, with the least that makes it one."""

    def put(name, content=b""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    tensors = {"a": np.zeros(1)}
    result = {"schema_version": 2, "settings": {"method": "coop"}}
    put("raw/train/wren/1.png", draw(1))
    put("raw/captions.json", {})
    put("dataset/manifest.json", {"schema_version": 1})
    put("dataset/croissant.json", {})
    put("results/coop.json", result)
    put("results/coop.safetensors", safetensors.numpy.save(tensors, {"fdrd": "{}"}))
    put("results/plot.png", draw(2))
    put("pushed/model.safetensors", safetensors.numpy.save(tensors, {"fdrd": "{}"}))
    put("model/config.json", {})
    put("model/model.safetensors", safetensors.numpy.save(tensors, {"format": "pt"}))
    put("stored/images.npy")
    put("stored/texts.npy")
    put("captioned/captioning.json", {})
    put("captioned/images/1.png", draw(3))
    put("export/raw/samples.json", {})
    put("export/raw/metadata.json", {})
    put("wds/raw/dataset_type.txt", b"retrieval")
    put("cells.toml", b"seeds = 3")
    monkeypatch.chdir(tmp_path)
    same = {kind: kind for kind in ("dataset", "results", "model", "export")}
    files = {"result": "results/coop.json", "checkpoint": "results/coop.safetensors"}
    files |= {"weights": "model/model.safetensors", "image": "raw/train/wren/1.png"}
    files |= {"experiment": "cells.toml", "captions": "captioned", "webdataset": "wds"}
    return {"source": "raw", "features": "stored", **same, **files}


def test_each_kind_is_recognized(paths):
    assert paths.keys() == KINDS.keys()
    assert {kind: kind_of(Path(path)) for kind, path in paths.items()} == {
        kind: kind for kind in KINDS
    }
    assert kind_of(Path("pushed")) == "checkpoint"
    assert kind_of(Path("export/raw")) == "export"


def test_what_is_unknown_has_no_kind(paths, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "loop").symlink_to("loop")
    unknown = ("nowhere", "nowhere.png", "empty", "notes.json", "loop", "dataset/manifest.json")
    for path in (*unknown, "."):  # which holds datasets
        assert kind_of(Path(path)) == "", path


DATASET, RESULTS, SOURCE = "a dataset", "results", "a raw source"
NO_DATASET = ("source", "results", "captions", "export", "webdataset", "model", "features")
NO_FILE = ("result", "checkpoint", "image", "experiment")
COMMANDS = [  # arguments, what is wanted, kinds that are refused
    (["validate", "{}"], DATASET, NO_DATASET),
    (["stats", "{}"], DATASET, (*NO_DATASET, *NO_FILE)),
    (["view", "{}", "--no-browser"], DATASET, NO_DATASET),
    (["bench", "{}", "--method", "zero_shot"], DATASET, (*NO_DATASET, *NO_FILE)),
    (["export", "{}", "out", "--to", "jsonl"], DATASET, (*NO_DATASET, *NO_FILE)),
    (["search", "{}", "a bird", "--backbone", "embedded"], DATASET, NO_DATASET),
    (["bench", "{}", "--preset", "paper"], DATASET, NO_DATASET),
    (["push", "{}", "--repo-id", "a/b", "--dry-run"], DATASET, ("source", "export", "features")),
    (["audit", "{}"], SOURCE, ("results", "model", "features")),
    (["report", "{}"], RESULTS, ("dataset", *(each for each in NO_DATASET if each != "results"))),
    (["compare", "{}"], RESULTS, ("dataset", "source", "checkpoint", "image", "captions")),
    (["build", "{}"], SOURCE, ("dataset", "results", "model", "features", *NO_FILE)),
    (["caption", "{}", "--captioner", "template"], SOURCE, ("dataset", "results", "checkpoint")),
    (["run", "{}"], "an experiment file", ("dataset", "source", "results", "result")),
    (
        ["export", "{}", "out", "--to", "transformers"],
        "the weights of a model",
        ("dataset", "source", "results"),
    ),
]


@pytest.mark.parametrize(("command", "wanted", "kinds"), COMMANDS, ids=lambda each: each[0])
def test_a_path_of_another_kind_is_named_with_the_command_that_takes_it(
    paths, command, wanted, kinds
):
    for kind in kinds:
        path, (phrase, advice) = paths[kind], KINDS[kind]
        code, _, text = run_fdrd(*(each.format(path) for each in command))
        expected = f"{path} is {phrase}, not {wanted}; {advice.replace('{}', path)}"
        assert (code, text) == (2, f"fdrd: {expected}\n"), kind
    assert not Path("out").exists()
    assert not Path("data").exists()


@pytest.mark.parametrize("kind", ["dataset", "source", "result", "features"])
def test_a_checkpoint_of_another_kind_is_named(paths, kind):
    from benchmark.checkpoint import find_checkpoint

    with pytest.raises(fdrd.FdrdError, match=f"is {KINDS[kind][0]}, not a trained method; "):
        find_checkpoint(paths[kind])
    assert find_checkpoint(paths["checkpoint"]) == Path(paths["checkpoint"])
    assert find_checkpoint("pushed") == Path("pushed/model.safetensors")
    with pytest.raises(fdrd.FdrdError, match=r"give a \.safetensors file of `fdrd bench`"):
        find_checkpoint(paths["results"])


@pytest.mark.parametrize("kind", ["dataset", "results", "checkpoint", "features"])
def test_a_backbone_of_another_kind_is_named(paths, kind):
    from benchmark.models.loading import load_backbone

    with pytest.raises(fdrd.FdrdError, match=f"is {KINDS[kind][0]}, not a model; "):
        load_backbone(paths[kind])


def test_a_folder_of_results_is_not_pushed(paths):
    code, _, text = run_fdrd("push", "results", "--repo-id", "a/b", "--dry-run")
    assert code == 2
    assert "results is a folder of results; give a dataset, or a .safetensors file" in text


def test_a_file_that_is_no_result_is_never_to_be_deleted(paths):
    for path in ("dataset/manifest.json", "dataset/croissant.json", "raw/captions.json"):
        code, _, text = run_fdrd("compare", path)
        message = f"fdrd: {path} is not a result file; `fdrd bench` writes results\n"
        assert (code, text) == (2, message)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dataset", "raw/train/wren/1.png"], "give --image raw/train/wren/1.png"),
        (["dataset", "nowhere/a.JPG"], "not a description; give --image nowhere/a.JPG"),
        (["a red wren", "dataset"], "comes first: fdrd search dataset 'a red wren'"),
        (["raw/train/wren/1.png", "dataset"], "fdrd search dataset --image raw/train/wren/1.png"),
    ],
)
def test_a_search_for_a_file_name_or_with_swapped_arguments_is_refused(paths, arguments, expected):
    code, _, text = run_fdrd("search", *arguments)
    assert (code, len(text.splitlines())) == (2, 1)
    assert expected in text
