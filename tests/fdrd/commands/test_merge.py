"""`fdrd build --part` and `fdrd merge`, as in a job array."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fdrd.commands import app
from tests.folders import digests


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")
    for number in range(12):
        file = Path("raw", ("wren", "robin")[number % 2], f"{number}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        color = (number * 20, 255 - number * 20, number * 77 % 256)
        image = Image.new("RGB", (32, 32), color)
        image.paste((255, 255, 255), (number, 2 * number, number + 9, 2 * number + 9))
        image.save(file)
        file.with_suffix(".txt").write_text(f"A {file.parent.name} on post {number}.")
    return Path("raw")


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_merge_says_that_the_hub_has_its_name(source, monkeypatch):
    monkeypatch.setattr("fdrd.hub.name_check.start_name_check", lambda name: lambda: name == "cub")
    for number in (1, 2):
        run("build", "--source", source, "--name", "cub", "--part", f"{number}/2", "--workers", 1)
    done = CliRunner().invoke(app, ["merge", "data/parts/1-of-2", "data/parts/2-of-2"])
    assert "The Hub has a dataset cub" in done.output


def test_two_parts_merge_to_the_same_bytes_as_one_build(source):
    run("build", "--source", source, "--out", "whole", "--workers", 1)
    for number in (1, 2):
        output = run("build", "--source", source, "--part", f"{number}/2", "--workers", 1)
        assert f"Built data/parts/{number}-of-2." in output
        assert "fdrd merge data/parts/*" in output
    assert "Nothing to do" in run("build", "--source", source, "--part", "1/2", "--workers", 1)
    named = sorted(
        Path("data/parts").iterdir()
    )  # as a shell expands data/parts/*, with work folders
    assert len(named) == 4
    printed = json.loads(run("merge", *named, "--workers", 1, "--json"))
    assert printed["records"]["read"] == 12
    assert digests("data/fdrd") == digests("whole")
