"""Mistakes and habits of new users: each works, or is answered in one line; what a build says to them."""

import io
import json
import re
import sys

import pytest
from layouts import LAYOUTS, PAIRS
from rich.console import Console

import benchmark
from benchmark.models.loading import KINDS
from fdrd.commands import console
from fdrd.fetching.fetching_run import read_table
from fdrd.imports import hidden_packages
from fdrd.reasons import REASONS, RULES
from fdrd.text.grid import Grid
from tests.command import run_fdrd, run_python


@pytest.fixture
def project(birds, tmp_path, monkeypatch):
    """Return a working folder with the source `raw`, its own caches, and no connection."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_package_of_the_same_name_is_named(tmp_path):
    assert hidden_packages() == ""
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "__init__.py").touch()
    done = run_python("-m", "fdrd", "stats", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "benchmark/__init__.py hides the package 'benchmark' of fdrd" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_shortcuts_and_american_spellings_reach_the_training(project):
    assert run_fdrd("build", "raw/", "--workers", "1", "--backbone", "embedded")[0] == 0
    command = ["bench", "fdrd", "-m", "coop", "--limit", "4", "--json", "--quiet"]
    command += ["--epochs", "1", "--lr", "0.01", "--batch-size", "4", "-T", "optimizer=adamw"]
    code, text, stderr = run_fdrd(*command, "--method-option", "n_ctx=2")
    assert (code, stderr) == (0, "")
    for part in ('"optimizer": "adamw"', '"learning_rate": 0.01', '"fdrd (4 images)"'):
        assert part in text
    code, _, stderr = run_fdrd(*command, "-T", "learning_rate=0.1")
    assert (code, "given twice" in stderr) == (2, True)


def test_every_command_that_writes_takes_o(project):
    from typer.main import get_command

    from fdrd.commands import app

    writing = "demo sample fetch caption build export bench run report"
    for name in writing.split():
        options = [
            each for parameter in get_command(app).commands[name].params for each in parameter.opts
        ]
        assert "-o" in options, name
    assert run_fdrd("build", "raw/", "--workers", "1", "-o", "set")[0] == 0
    assert run_fdrd("export", "fdrd", "--to", "jsonl", "-o", "out")[0] == 0
    assert list((project / "out").rglob("*.jsonl"))
    for given in ([], ["other", "-o", "out"]):
        code, _, stderr = run_fdrd("export", "fdrd", "--to", "jsonl", *given)
        assert (code, "give one FOLDER" in stderr) == (2, True)


def table_lines(text):
    """Return the lines of tables: those around a rule, up to an empty line."""
    blocks = ("\n".join(line.rstrip() for line in text.splitlines())).split("\n\n")
    return [
        line for block in blocks if "───" in block for line in block.splitlines() if "  " in line
    ]


EXPERIMENT = """
data = "fdrd"
methods = [{ method = "clip_adapter", options = { side = "both" }, train = { learning_rate = 0.001 } }]
protocols = [{ shots = [1, "all"], gallery = "joint", hard_negatives = false }]
"""


@pytest.mark.parametrize("width", [80])
def test_tables_of_every_command_fit_and_lose_no_word(project, monkeypatch, width):
    monkeypatch.setattr(console.out, "_width", width)
    long = project / "a_rather_long_name_of_a_folder_for_raw_images" / "and_a_second_one"
    long.parent.mkdir()
    (project / "raw").rename(long)
    (project / "experiment.toml").write_text(EXPERIMENT)
    for command, words in (
        (["build", str(long), "--workers", "1", "-o", "set"], "annotations read kept rejected"),
        (["stats", "fdrd"], "domain pairs images captions shared categories tokens/max negatives"),
        (["build", "--reasons"], [*REASONS, *RULES]),
        (["backbones"], [kind.form for kind in KINDS.values()]),
        (["backbones", "embedded"], benchmark.method_names()),
        (["fetch"], read_table()),
        (["run", "experiment.toml", "--dry-run"], "learning_rate=0.001, side=both) shots=1,"),
        (["export", "fdrd", "--to", "jsonl", "-o", "out"], "domain split images captions"),
    ):
        code, text, stderr = run_fdrd(*command)
        assert code == 0, stderr
        assert max(map(len, table_lines(text)), default=0) <= width, command
        assert "…" not in text
        for word in words.split() if isinstance(words, str) else words:
            assert word in text, (command, word)


@pytest.mark.parametrize("width", [120, 80, 50])
def test_a_table_continues_in_blocks_where_the_terminal_is_narrow(width):
    head = ["method", "", "MRR", "difference", "95 % interval", "p", "verdict"]
    rows = [
        ["coop (epochs=1)", "I2T", "34.1", "+5.7", "[+0.9, +10.9]", "0.0259", "no difference shown"]
    ]
    rows += [["", "T2I", "30.1", "+4.7", "[+0.1, +9.9]", "0.0001", "better"]]
    written = io.StringIO()
    Console(file=written, width=width).print(Grid(head, rows))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    blocks = sum("───" in line for line in lines)
    assert blocks == {120: 1, 80: 1, 50: 2}[width]
    words = written.getvalue().split()
    for word in " ".join([*head, *map(" ".join, rows)]).split():
        assert word in words
    assert words.count("(epochs=1)") == blocks


def test_the_summary_of_a_build_names_rejected_records(project):
    metadata = project / "raw" / "metadata.jsonl"
    metadata.write_text("\n".join(metadata.read_text().splitlines()[3:]))
    code, text, _ = run_fdrd("build", "raw/", "--workers", "1", "-o", "set")
    assert code == 0
    assert re.search(r"(\d+) read = (\d+) kept \+ (\d+) rejected: set/rejected.jsonl", text)
    assert re.search(r"[1-9]\d* images? ha(s|ve) no caption; `fdrd caption SOURCE` writes", text)


def test_an_export_of_features_looks_at_its_folder_before_anything_is_loaded(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmark.models.encoders.stored", None)
    code, _, stderr = run_fdrd("export", "nowhere", "raw", "--to", "features")
    assert (code, "raw contains files already" in stderr) == (2, True)
    code, _, stderr = run_fdrd("export", "nowhere", "new", "--to", "features", "--device", "gpu")
    assert (code, "--device gpu: not available" in stderr) == (2, True)


def build(root, target):
    code, out, err = run_fdrd("build", str(root), "-o", str(target), "--workers", "1")
    assert code == 0, err
    return " ".join(out.replace("─", "").split()), (target / "README.md").read_text()


def test_categories_with_one_image_are_said_to_be_split_by_image(tmp_path, write, draw):
    for number in range(60):
        write(f"bird {number}/{number}.png", draw(number))
        write(f"bird {number}/{number}.txt", f"A red bird {number} on a branch.")
    out, card = build(tmp_path / "raw", tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    images = {split: counts["images"] for split, counts in manifest["splits"]["raw"].items()}
    assert images["test"] > 4
    sizes = " ".join(str(images[split]) for split in ("train", "validation", "test"))
    assert f"images of train validation test raw {sizes}" in out
    assert "60 pairs have categories with one image. They are split by image" in out
    assert f"Few images: test of raw has {images['test']}." in out
    assert "for 5 points, take 385 images" in out
    assert "`split_by_image`" in card


def test_a_dataset_without_test_split_is_measured_on_validation(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    LAYOUTS["coco"].write(root, PAIRS)
    for split in ("train", "test"):
        (root / f"annotations/captions_{split}2017.json").unlink()
    out, _ = build(root, tmp_path / "out")
    assert "No test split: raw. The source names other splits only, or has too few" in out
    assert "Few images" not in out
    assert f"Next: fdrd bench {tmp_path}/out --method zero_shot --split validation" in out
    bench = ("bench", str(tmp_path / "out"), "--method", "random", "--results", str(tmp_path / "r"))
    code, _, err = run_fdrd(*bench)
    assert (code, "out has no test; choose validation with" in " ".join(err.split())) == (2, True)
    code, out, err = run_fdrd(*bench, "--split", "validation")
    assert code == 0, err
    assert "Few images: validation of raw has 3." in " ".join(out.split())


def test_captions_in_another_language_are_said_to_have_no_attributes(tmp_path, write, draw):
    captions = {
        "deutsch": "Ein kleiner roter Vogel {} sitzt auf einem grünen Zweig.",
        "zhongwen": "一只红色的小鸟 {} 站在绿色的树枝上。",
        "english": "A small red bird {} sits on a green branch in the shade.",
    }
    for folder, caption in captions.items():
        for number in range(12):
            image = 40 * len(folder) + number
            write(f"{folder}/{('wren', 'robin')[number % 2]}/{number}.png", draw(image))
            write(f"{folder}/{('wren', 'robin')[number % 2]}/{number}.txt", caption.format(number))
    out, card = build(tmp_path / "raw", tmp_path / "out")
    for text in (out, card):
        for domain in ("deutsch", "zhongwen"):
            assert f"{domain}: 0 of 12 pairs have attributes, and 0 hard negatives" in text
        assert "Attributes need English words." in text
        assert "english: 0 of" not in text
