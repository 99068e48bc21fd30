"""Each damage of a dataset ends each command in one line that names file and remedy, and `fdrd validate` finds it."""

import contextlib
import hashlib
import shutil

import datasets
import pytest

from benchmark.models.encoders import pretrained
from fdrd.dataset import load_rows, load_view
from fdrd.errors import FdrdError
from fdrd.exports import FORMATS
from fdrd.viewer.images import thumbnail
from tests.command import run_fdrd
from tests.folders import caches_in, digests
from tests.scenes import image_bytes
from tests.tampering import (
    COMMANDS,
    DAMAGES,
    OF_FILES,
    OF_IMAGES,
    build_small,
    edit_manifest,
    rewrite,
    run,
    shard_of,
)

NOT_NOTICED = {
    "image null": {"stats", "audit"},
    "image bytes null": {"stats", "audit"},
    "digest of another image": {"stats", "audit", "push"},
    "image does not decode": {"validate", "stats", "audit", "push"},
    "image bomb": {"validate", "stats", "audit", "push"},
    "image ends early": {"validate", "stats", "audit", "push", "export jsonl"},
}
"""Commands that give a right result, because they do not decode the image or do not use it."""

ROW_COMMANDS = ("validate", "export jsonl", "search")
"""Enough for most damages of rows, which all commands check with the same function."""
BY_EVERY_COMMAND = {*OF_FILES, *OF_IMAGES, "caption null", "label negative"}
BY_EVERY_COMMAND |= {"a column is missing", "a column of the manifest only"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with caches_in(folder):
        return build_small(folder)


@pytest.fixture
def data(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "a" / "b" / "data")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_ends_each_command_in_one_line(
    damage, data, saved_clip, tmp_path, monkeypatch, hub
):
    DAMAGES[damage](data)
    before = digests(data / "data")  # `fdrd audit` adds a section to the card
    if damage not in OF_IMAGES:  # found before any model is loaded

        def refuse(*_, **__):
            pytest.fail("a model was loaded")

        monkeypatch.setattr(pretrained, "load", refuse)
    for number, command in enumerate(COMMANDS if damage in BY_EVERY_COMMAND else ROW_COMMANDS):
        out = tmp_path / "a" / f"out{number}"
        code, printed, told = run(command, data, out, saved_clip)
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
    assert digests(data / "data") == before  # no command changes it
    assert not list(tmp_path.rglob("escaped*"))


def test_every_command_reads_an_intact_dataset(data, saved_clip, tmp_path, hub):
    for number, command in enumerate(COMMANDS):
        code, _, told = run(command, data, tmp_path / f"out{number}", saved_clip)
        assert (command, code) == (command, 0), told


@pytest.mark.parametrize("form", sorted(FORMATS.keys() - {"jsonl", "webdataset"}))
@pytest.mark.parametrize("damage", ["digest is a path", "domain is a path"])
def test_no_format_writes_outside_of_its_folder(form, damage, data, tmp_path):
    DAMAGES[damage](data)
    code, _, told = run_fdrd("export", data, tmp_path / "a/b/c/out", "--to", form)
    assert code == 2
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.rglob("escaped*"))


def test_a_damaged_training_split_is_not_left_out(data, tmp_path, saved_clip):
    next((data / "data").rglob("train-*")).unlink()
    for command in ("export jsonl", "bench", "features", "search"):
        code, _, told = run(command, data, tmp_path / "out", saved_clip)
        assert (command, code) == (command, 2)
        assert "train-00000-of-00001.arrow: is missing" in told


REVIEW = {"sha256": "0" * 64, "applied": 1, "stale": 0}

RENAMED = [
    lambda found: found["shards"][0].update(domain="../../escaped", path="data/../../escaped"),
    lambda found: found["shards"][0].update(domain=".."),
    lambda found: found["shards"][0].update(domain="other"),
    lambda found: found["shards"][0].update(split="validation"),
    lambda found: found["shards"].append(found["shards"][0]),
    lambda found: found["splits"].update({"../escaped": found["splits"]["raw"]}),
    lambda found: found["splits"]["raw"].pop("test"),
    lambda found: found["domains"][0].update(name="a/b"),
    lambda found: found["libraries"].clear(),
    lambda found: found.update(decisions=REVIEW | {"verified": {"other": {"test": 1}}}),
    lambda found: found["shards"][0].update(path=found["shards"][0]["path"] + "\n"),
]


@pytest.mark.parametrize("change", RENAMED)
def test_names_of_a_manifest_that_lead_elsewhere_are_refused(change, data, tmp_path):
    edit_manifest(data, change)
    for command in ("validate", "stats", "export jsonl"):
        code, _, told = run(command, data, tmp_path / "out", "embedded")
        assert (command, code, len(told.splitlines())) == (command, 2, 1)
        assert f"{data}/manifest.json: " in told
        assert "build the dataset again" in told


OF_A_COPY = "missing", "truncated", "empty", "a column is missing", "caption null", "label negative"


@pytest.mark.parametrize("damage", OF_A_COPY)
def test_damage_of_a_registered_copy_is_found(damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the repository has a folder `fdrd`
    out = build_small(tmp_path)
    linked = next((tmp_path / "cache/datasets/fdrd/default").rglob("*-test.arrow"))
    DAMAGES[damage](out)
    linked.unlink()
    if shard_of(out).exists():
        shutil.copyfile(shard_of(out), linked)
    with pytest.raises(FdrdError, match=r"fdrd-test.arrow: .*; build the dataset again") as failure:
        load_view("fdrd", "test")
    assert "\n" not in str(failure.value)


OF_THE_HUB = [
    lambda rows: rows.remove_columns("negatives"),
    lambda rows: rows.remove_columns("category"),
    lambda rows: rows.map(lambda row: {"caption": None}),
    lambda rows: rows.map(lambda row: {"source": {**row["source"], "sha256": "../x"}}),
    lambda rows: rows.map(lambda row: {"domain": ".."}),
    lambda rows: rows.rename_column("caption", "text"),
]


@pytest.mark.parametrize("change", OF_THE_HUB)
def test_rows_of_the_hub_are_checked(change, data, monkeypatch):
    rows = change(load_rows(data, split="test"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    monkeypatch.setattr("fdrd.dataset.hub_or_cache", lambda: contextlib.nullcontext(True))
    with pytest.raises(FdrdError, match=r"^org/x(: row 0)?: ") as failure:
        load_view("org/x", "test")
    assert "\n" not in str(failure.value)


def test_a_thumbnail_is_not_read_from_elsewhere(data, tmp_path):
    secret = tmp_path / "secret.webp"
    secret.write_bytes(b"secret")
    record = {"image": str(secret.with_suffix("")), "place": 0}
    shard = shard_of(data).relative_to(data).as_posix()
    with pytest.raises(FdrdError, match="not a SHA-256 digest"):
        thumbnail(data, shard, record)


def test_an_image_that_names_a_file_instead_of_bytes_is_not_opened(data, tmp_path):
    """`datasets` would open the path."""
    (tmp_path / "secret.png").write_bytes(image_bytes(1))
    digest = hashlib.sha256(image_bytes(1)).hexdigest()

    def change(rows):
        rows[0]["image"] = {"bytes": None, "path": str(tmp_path / "secret.png")}
        rows[0]["source"]["sha256"] = digest

    rewrite(data, change)
    with pytest.raises(FdrdError, match=r"image\.bytes is null"):
        load_view(data, "test").images([0])
