"""`fdrd build --part` and `fdrd merge` as a job array and its last job run them."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fdrd.commands import app
from fdrd.errors import FdrdError
from tests.folders import digests


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")
    for number in range(12):
        picture = Path("raw", ("wren", "robin")[number % 2], f"{number}.png")
        picture.parent.mkdir(parents=True, exist_ok=True)
        colour = (number * 20, 255 - number * 20, number * 77 % 256)
        image = Image.new("RGB", (32, 32), colour)
        image.paste((255, 255, 255), (number, 2 * number, number + 9, 2 * number + 9))
        image.save(picture)
        picture.with_suffix(".txt").write_text(f"A {picture.parent.name} on post {number}.")
    return Path("raw")


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_parts_merge_to_the_same_bytes_as_one_build(source):
    run("build", "--source", source, "--out", "whole", "--workers", 1)
    for number in (1, 2):
        said = run("build", "--source", source, "--part", f"{number}/2", "--workers", 1)
        assert f"Built data/parts/{number}-of-2." in said
        assert "fdrd merge data/parts/*" in said
    assert "Nothing to do" in run("build", "--source", source, "--part", "1/2", "--workers", 1)
    named = sorted(Path("data/parts").iterdir())  # as a shell names them, work folders too
    assert len(named) == 4
    printed = json.loads(run("merge", *named, "--workers", 1, "--json"))
    assert printed["records"]["read"] == 12
    assert digests("data/fdrd") == digests("whole")


def test_a_part_that_makes_no_sense_is_a_mistake_of_the_user(source):
    with pytest.raises(FdrdError, match="I from 1 to N"):
        run("build", "--source", source, "--part", "3/2")
