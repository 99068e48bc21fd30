"""The command line."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from fdrd import __main__ as cli
from tests.command import run_fdrd, run_python, start_fdrd
from tests.folders import caches_in
from tests.scenes import encoded


class Done(NamedTuple):
    """What a command returned and printed."""

    returncode: int
    stdout: str
    stderr: str


def fdrd(*arguments, cwd):
    """Run a command in a folder, in this process."""
    with contextlib.chdir(cwd), caches_in(cwd):
        return Done(*run_fdrd(*arguments))


def draw_raw(folder):
    for number in range(12):
        path = folder / "raw" / ("wren", "robin")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(Image.new("RGB", (16, 16), (number * 20, 0, 0))))
        path.with_suffix(".txt").write_text(f"A {path.parent.name} on branch {number}.")
    return folder


@pytest.fixture
def raw(tmp_path):
    """Return a folder with the source `raw`."""
    return draw_raw(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a folder with the source `raw`, the dataset `data/fdrd`, and the backbone `tiny.py:load`."""
    folder = draw_raw(tmp_path_factory.mktemp("built"))
    assert fdrd("build", "--source", "raw", "--workers", "1", cwd=folder).returncode == 0
    (folder / "tiny.py").write_text(TINY.format(tests=str(Path(__file__).parents[2])))
    return folder


def test_build_stats_validate_and_rerun(raw):
    built = fdrd("build", "--source", "raw", "--workers", "1", cwd=raw)
    assert "12 read = 12 kept + 0 rejected" in built.stdout, built.stderr
    assert "Nothing to do" in fdrd("build", "--source", "raw", "--workers", "1", cwd=raw).stdout
    assert json.loads(fdrd("stats", "data/fdrd", "--json", cwd=raw).stdout)[0]["domain"] == "raw"
    assert fdrd("validate", "data/fdrd", cwd=raw).stdout == "data/fdrd: valid\n"
    shard = next((raw / "data/fdrd/data").rglob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    broken = fdrd("validate", "data/fdrd", cwd=raw)
    assert (broken.returncode, "sha256" in broken.stdout) == (1, True)


def test_an_audit_is_added_to_the_card_unless_an_option_prevents_it(raw):
    assert fdrd("build", "--source", "raw", "--workers", "1", cwd=raw).returncode == 0
    card = raw / "data/fdrd/README.md"
    card.write_text(before := card.read_text().replace("| rows | 12 |", "| rows | none |"))
    for option in ("--no-text-only", "--no-card"):
        done = fdrd("audit", "data/fdrd", option, cwd=raw)
        assert (done.returncode, card.read_text()) == (0, before)
    done = fdrd("audit", "data/fdrd", "--json", cwd=raw)
    assert json.loads(done.stdout)["audits"][0]["rows"] == 12
    assert "data/fdrd/README.md" in done.stderr
    assert "| rows | 12 |" in card.read_text()
    card.unlink()
    done = fdrd("audit", "data/fdrd", cwd=raw)
    assert (done.returncode, "--no-card` skips it" in done.stderr) == (2, True)


def test_an_audit_lists_rows_and_fails_above_a_limit(raw):
    (raw / "raw/wren/0.txt").write_text("A wren on branch 2.")
    assert fdrd("build", "--source", "raw", "--workers", "1", cwd=raw).returncode == 0
    card = (raw / "data/fdrd/README.md").read_text()
    limits = ("--fail-on", "shared_caption=1", "--fail-on", "doubled_word=0")
    done = fdrd("audit", "data/fdrd", "--list", *limits, cwd=raw)
    assert done.returncode == 1
    assert "2 shared_caption, the limit is 1" in done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    shared = [row[1:] for row in rows if row[0] == "shared_caption"]
    assert len(shared) == 2
    assert {(row[0], row[2]) for row in shared} == {("raw", "A wren on branch 2.")}
    assert len({row[1] for row in shared}) == 2
    assert (raw / "data/fdrd/README.md").read_text() == card
    done = fdrd("audit", "data/fdrd", "--fail-on", "shared_caption=2", "--json", cwd=raw)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_ctrl_c_says_how_to_resume_and_leaves_no_partial_dataset(raw):
    child = start_fdrd(raw, "build", "--source", "raw", "--workers", "2")
    while not (raw / "data/fdrd.work").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    stderr = child.communicate(timeout=60)[1]
    assert child.returncode == 130, stderr
    assert "run the same command again to resume" in stderr
    assert not (raw / "data/fdrd").exists()
    assert fdrd("build", "--source", "raw", "--workers", "1", cwd=raw).returncode == 0
    assert fdrd("validate", "data/fdrd", cwd=raw).returncode == 0


TINY = """
import sys
sys.path.insert(0, {tests!r})
from tiny import clip_model, image_processor, tokenizer

def load():
    return clip_model(), tokenizer(), image_processor()
"""

PLUGIN = '''
"""A method of another package: zero-shot with reversed scores."""
from benchmark import method
from baselines.zero_shot import ZeroShot

class Reversed(ZeroShot):
    def similarity(self, images, texts):
        return -super().similarity(images, texts)

@method("reversed")
def reversed_scores(backbone):
    """Zero-shot upside down."""
    return Reversed(backbone)
'''


def test_bench_reuses_results_and_accepts_plugins_and_custom_backbones(built, called, registry):
    (built / "my_package").mkdir()
    (built / "my_package" / "__init__.py").write_text(PLUGIN)
    names = ("zero_shot", "random", "coop", "reversed")
    command = ["bench", *(part for name in names for part in ("--method", name)), "--json"]
    command += ["--plugin", "my_package", "--backbone", "tiny.py:load", "--split", "train"]
    command += ["-M", "n_ctx=2", "-T", "epochs=1"]
    first = fdrd(*command, cwd=built)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert [result["settings"]["method"] for result in found] == list(names)
    assert len(list((built / "runs").glob("*.json"))) == 4
    assert json.loads(fdrd(*command, cwd=built).stdout) == found
    _, page, _ = called("report", "runs")
    assert page.startswith("# Results")
    assert all(name in page for name in ("coop", "random", "reversed"))


@pytest.mark.slow
def test_an_ablation_compares_every_variant_with_the_full_method(built):
    command = ["bench", "--ablate", "dcar", "--backbone", "tiny.py:load", "--split", "train"]
    command += ["-M", "n_ctx=2", "-T", "epochs=1", "--results", "ablation"]
    first = fdrd(*command, cwd=built)
    assert first.returncode == 0, first.stderr
    assert "MRR against dcar, whole" in " ".join(first.stdout.split())
    compared = fdrd("compare", "ablation", "--against", "dcar, whole", cwd=built)
    assert "MRR against dcar, whole" in " ".join(compared.stdout.split())
    page = fdrd("report", "ablation", cwd=built).stdout
    assert "| dcar, whole without prompts |" in page
    again = fdrd(*command, "--json", cwd=built)
    given = [result["settings"]["options_given"] for result in json.loads(again.stdout)]
    assert {"n_ctx": 2} in given
    assert {"n_ctx": 2, "depth": 0} in given
    failed = fdrd(*command, "-M", "gamma=-1", "--results", "failed", cwd=built)
    assert (failed.returncode, "gamma=-1: must be at least 0" in failed.stderr) == (2, True)
    assert not (built / "failed").exists()  # wrong options fail before any variant runs
    assert len(given) == len({json.dumps(each, sort_keys=True) for each in given}) > 10


@pytest.fixture
def called(built, monkeypatch):
    """Return a function that runs a command in the folder of `built`: exit code, stdout, stderr."""
    monkeypatch.chdir(built)
    monkeypatch.setenv("FDRD_CACHE", str(built / "cache" / "fdrd"))
    return run_fdrd


def test_a_cache_that_cannot_be_written_names_the_variable(called, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "file/cache"))
    code, _, message = called("view", "data/fdrd", "--no-browser", "--port", "0")
    assert (code, len(message.splitlines())) == (2, 1)
    assert "Not a directory; FDRD_CACHE names another cache" in message


@pytest.mark.parametrize(
    ("code", "named", "expected"),
    [
        (errno.EACCES, True, "fdrd: {}: Permission denied; change the permissions"),
        (errno.ENOSPC, False, "No space left on device; free some space"),  # as of `write`
        (errno.EFBIG, False, "File too large; free some space"),
    ],
)
def test_an_error_of_the_disk_is_one_line(called, tmp_path, monkeypatch, code, named, expected):
    """It does not name the variable of the cache, which is in another folder."""

    def refuse():
        raise OSError(code, os.strerror(code), *([str(tmp_path)] if named else []))

    monkeypatch.setattr(cli, "app", refuse)
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "cache"))
    status, _, message = called()
    assert (status, len(message.splitlines())) == (2, 1)
    assert expected.format(tmp_path) in message
    assert "FDRD_CACHE" not in message


def test_an_error_that_no_user_can_fix_keeps_its_traceback(monkeypatch):
    def refuse():
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(OSError, match="Bad file"):
        cli.main()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("flush", ["", "sys.stdout.flush()"], ids=["at the end", "at once"])
def test_output_that_cannot_be_written_is_one_line(flush):
    code = (
        "import sys; from fdrd import __main__ as cli\n"
        f"def app():\n    print('a table'); {flush}\n"
        "cli.app = app; cli.main()"
    )
    streams = {"stderr": subprocess.PIPE, "capture_output": False, "check": False}
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": ""}
        done = run_python("-c", code, stdout=full, env=environment, **streams)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "standard output: No space left on device; free some space" in done.stderr


TWO = ["--method", "zero_shot", "--method", "random", "--backbone", "tiny.py:load"]


def test_compare_prints_differences_as_a_table_or_as_json(called, tmp_path):
    measured = ["bench", *TWO, "--split", "train", "--results", tmp_path, "--seeds", 2]
    assert called(*measured)[0] == 0
    code, text, _ = called("compare", tmp_path)
    assert code == 0
    assert "MRR against zero_shot" in text
    assert "Holm p" in text
    code, text, _ = called("compare", tmp_path, "--against", "random", "--json")
    (comparison,) = json.loads(text)["comparisons"]
    assert comparison["against"] == "random"
    (method,) = comparison["methods"]
    assert method["method"] == "zero_shot"
    assert {"difference", "interval", "holm", "verdict", "over_seeds"} <= set(method["mean"])


def test_base_to_new_prints_both_halves_and_their_harmonic_mean(called, tmp_path):
    (listed := tmp_path / "base.txt").write_text("# one of two\nwren\n")
    command = ["bench", *TWO, "--split", "train", "--results", tmp_path, "--categories", listed]
    code, text, _ = called(*command)
    assert code == 0
    assert text.index("base categories") < text.index("new categories") < text.index("to new")


def test_search_prints_ranked_records(called):
    asked = ("search", "data/fdrd", "A wren on branch 2.", "--backbone", "embedded", "--k", 3)
    code, text, _ = called(*asked, "--json")
    hits = json.loads(text)
    assert code == 0
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert sorted((hit["score"] for hit in hits), reverse=True) == [h["score"] for h in hits]
    assert {"id", "caption", "category", "source"} <= hits[0]["record"].keys()
    assert hits[0]["record"]["source"]["file"] in called(*asked)[1]
    code, text, _ = called(*asked[:2], "--image", "raw/wren/0.png", *asked[3:], "--json")
    assert code == 0
    assert len(json.loads(text)) == 3
    for image, expected in (("raw/wren/0.txt", "begins with"), ("none.png", "No such file")):
        code, _, message = called(*asked[:2], "--image", image)
        assert (code, expected in message) == (2, True)


def test_a_checkpoint_determines_method_and_backbone(called, tmp_path):
    learn = ["bench", "--method", "coop", "-T", "epochs=1", "--results", tmp_path / "runs"]
    code, text, stderr = called(*learn, "--backbone", "embedded", "--json")
    assert code == 0, stderr
    (learned,) = json.loads(text)
    (checkpoint,) = (tmp_path / "runs").glob("*.safetensors")
    again = ["bench", "--checkpoint", checkpoint, "--results", tmp_path / "again"]
    code, text, stderr = called(*again, "--json")
    assert code == 0, stderr
    (measured,) = json.loads(text)
    assert measured["settings"]["method"] == "coop"
    assert measured["settings"]["backbone"]["name"] == "embedded"
    assert measured["ranks"] == learned["ranks"]
    code, text, stderr = called("search", "data/fdrd", "A wren.", "--checkpoint", checkpoint)
    assert (code, "wren" in text) == (0, True), stderr
