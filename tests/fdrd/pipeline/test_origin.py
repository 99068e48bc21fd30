"""A build replaces no dataset of another source unless it is told to."""

import shutil

import pytest

from fdrd.build_config import BuildConfig
from fdrd.commands.build import print_build
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.storage.resume import Origin, holds_other, recorded_origin, write_origin
from tests.folders import digests


@pytest.fixture
def finches(birds, tmp_path):
    """Return another source: the birds without one image."""
    shutil.copytree(birds, tmp_path / "finches")
    (tmp_path / "finches/train/wren/02.png").unlink()
    return tmp_path / "finches"


def test_the_dataset_of_another_source_is_replaced_only_on_request(birds, finches, tmp_path):
    out = tmp_path / "out"
    build(birds, out, workers=1)
    before = digests(out)
    with pytest.raises(FdrdError, match=f"^{out} is a dataset of {birds}; .*`out`, or `replace`"):
        build(finches, out, workers=1)
    assert digests(out) == before
    assert build(birds, out, workers=1).nothing_to_do

    replaced = build(finches, out, replace=True, workers=1)
    assert replaced.manifest.records.kept == 48
    assert build(finches, out, workers=1).nothing_to_do
    with pytest.raises(FdrdError, match=f"is a dataset of {finches}"):
        build(birds, out, workers=1)


def test_a_source_may_change_or_move_but_not_both(birds, tmp_path):
    out, metadata = tmp_path / "out", birds / "metadata.jsonl"
    build(birds, out, workers=1)
    metadata.write_text(metadata.read_text().replace("once more", "as new"))
    assert build(birds, out, workers=1).shards_written > 0

    metadata_text = metadata.read_text()
    shutil.copytree(birds, tmp_path / "moved", copy_function=shutil.copy)  # with new times
    assert build(tmp_path / "moved", out, workers=1).manifest.domains[0].name == "moved"
    shutil.rmtree(birds)
    moved = (tmp_path / "moved").rename(tmp_path / "again")
    (moved / "metadata.jsonl").write_text(metadata_text.replace("as new", "changed"))
    with pytest.raises(FdrdError, match=f"is a dataset of {tmp_path / 'moved'}"):
        build(moved, out, workers=1)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_dataset_of_an_unknown_source_is_kept(birds, tmp_path, damage):
    build(birds, tmp_path / "out", workers=1)
    note = tmp_path / "out.work/source.json"
    if damage == "missing":
        note.unlink()
    else:
        note.write_text("[" * 100_000)
    assert build(birds, tmp_path / "out", workers=1).nothing_to_do  # equal inputs tell
    shutil.rmtree(tmp_path / "out.work")
    with pytest.raises(FdrdError, match=f"whose source {tmp_path / 'out.work'} does not tell"):
        build(birds, tmp_path / "out", workers=1)
    build(birds, tmp_path / "out", replace=True, workers=1)
    assert build(birds, tmp_path / "out", workers=1).nothing_to_do


def test_the_defaults_follow_the_source_if_another_one_has_them(
    birds, finches, tmp_path, monkeypatch, capsys
):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    first = build(birds, workers=1)
    assert (str(first.out), first.manifest.name, first.instead_of) == ("data/fdrd", "fdrd", None)

    for nothing_to_do in (False, True):
        second = build(finches, workers=1)
        assert (str(second.out), second.manifest.name) == ("data/finches", "finches")
        assert (second.nothing_to_do, second.configs) == (nothing_to_do, ["finches", "default"])
        print_build(second, json=False)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("data/fdrd holds the dataset of another source, so this one is")
    assert build(birds, workers=1).nothing_to_do

    named = build(finches, config=BuildConfig(name="own"), workers=1)
    assert (str(named.out), named.manifest.name) == ("data/finches", "own")
    shutil.copytree(birds, tmp_path / "elsewhere/finches")
    (tmp_path / "elsewhere/finches/train/wren/04.png").unlink()
    with pytest.raises(FdrdError, match=f"data/fdrd is a dataset of {birds}, and data/finches"):
        build(tmp_path / "elsewhere/finches", workers=1)
    build(finches, replace=True, workers=1)
    assert build(finches, workers=1).out == first.out


def test_the_default_next_to_the_source_is_never_the_source(birds, finches, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    source = finches.rename(tmp_path / "data/finches")
    monkeypatch.chdir(tmp_path)
    build(birds, workers=1)
    with pytest.raises(FdrdError, match=r"data/finches exists, too; give another `out`"):
        build(source, workers=1)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/My Photos", "my-photos"),
        ("/a/birds.v2", "birds.v2"),
        ("/a/birds.tar.gz", "birds"),
        ("/a/Birds.zip", "birds"),
        ("/a/鳥", "dataset"),
        ("/", "dataset"),
    ],
)
def test_a_dataset_is_named_after_its_source(path, name):
    origin = Origin(path, "")
    assert origin.name == name
    assert BuildConfig(name=origin.name).name == name


def test_a_source_whose_path_is_no_utf8_is_recognized(tmp_path):
    origin = Origin(path="/photos/caf\udce9", files="0" * 64)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.json").write_text("{}")
    write_origin(tmp_path / "out", origin)
    assert recorded_origin(tmp_path / "out") == origin
    assert not holds_other(tmp_path / "out", origin)
