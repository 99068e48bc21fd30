"""Each damage of a dataset ends each command in one line that names file and remedy, and `fdrd validate` finds it."""

import shutil

import datasets
import pytest

from benchmark.models.encoders import pretrained
from tests.folders import digests
from tests.tampering import COMMANDS, DAMAGES, OF_IMAGES, build_small, run, run_fdrd

NOT_NOTICED = {
    "image null": {"stats", "audit"},
    "image bytes null": {"stats", "audit"},
    "digest of another image": {"stats", "audit", "push"},
    "image does not decode": {"validate", "stats", "audit", "push"},
    "image bomb": {"validate", "stats", "audit", "push"},
    "image ends early": {"validate", "stats", "audit", "push", "export jsonl"},
}
"""Commands that give a right result, because they do not decode the image or do not use it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDRD_CACHE", str(folder / "cache"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets")
        return build_small(folder)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory, clip_parts):
    folder = tmp_path_factory.mktemp("clip")
    for part in clip_parts():
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def data(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "a" / "b" / "data")


def shards(data):
    return digests(data / "data")  # `fdrd audit` adds a section to the card


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_ends_every_command_in_one_line(
    damage, data, backbone, tmp_path, monkeypatch, hub
):
    DAMAGES[damage](data)
    before = shards(data)
    if damage not in OF_IMAGES:  # found before any model is loaded

        def refuse(*_, **__):
            pytest.fail("a model was loaded")

        monkeypatch.setattr(pretrained, "load", refuse)
    for number, command in enumerate(COMMANDS):
        out = tmp_path / "a" / f"out{number}"
        code, printed, told = run(command, data, out, backbone)
        errors = [line for line in told.splitlines() if line.startswith("fdrd:")]
        if command in NOT_NOTICED.get(damage, ()):
            assert (command, code, errors) == (command, 0, [])
        elif command.startswith("validate"):
            assert (command, code, errors) == (command, 1, [])
            assert "test-00000-of-00001.arrow" in printed
        else:
            assert (command, code, len(errors)) == (command, 2, 1), told
            assert str(data) in errors[0], told
            assert "fdrd validate" in errors[0], told
            assert not out.exists() or command == "bench"
    assert shards(data) == before  # no command changes it
    assert not list(tmp_path.rglob("escaped*"))


def test_every_command_reads_an_intact_dataset(data, backbone, tmp_path, hub):
    for number, command in enumerate(COMMANDS):
        code, _, told = run(command, data, tmp_path / f"out{number}", backbone)
        assert (command, code) == (command, 0), told


@pytest.mark.parametrize(
    "form", ["coco", "imagefolder", "karpathy", "label-studio", "mteb", "fiftyone"]
)
@pytest.mark.parametrize("damage", ["digest is a path", "domain is a path"])
def test_no_format_writes_outside_of_its_folder(form, damage, data, tmp_path):
    DAMAGES[damage](data)
    code, _, told = run_fdrd("export", data, tmp_path / "a/b/c/out", "--to", form)
    assert code == 2
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.rglob("escaped*"))


def test_a_damaged_training_split_is_not_left_out(data, tmp_path, backbone):
    next((data / "data").rglob("train-*")).unlink()
    for command in ("export jsonl", "bench", "features", "search"):
        code, _, told = run(command, data, tmp_path / "out", backbone)
        assert (command, code) == (command, 2)
        assert "train-00000-of-00001.arrow: is missing" in told
