"""The command line as a user meets it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def fdrd(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def raw(tmp_path):
    from PIL import Image

    for number in range(12):
        path = tmp_path / "raw" / ("wren", "robin")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number * 20, 0, 0)).save(path)
        path.with_suffix(".txt").write_text(f"A {path.parent.name} on branch {number}.")
    return tmp_path


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "fdrd sample raw/" in done.stdout


def test_build_stats_validate_and_a_rerun(raw):
    first = fdrd("build", "--source", "raw", cwd=raw)
    assert first.returncode == 0, first.stderr
    assert "12 read = 12 kept + 0 rejected" in first.stdout
    assert "Nothing to do" in fdrd("build", "--source", "raw", cwd=raw).stdout
    assert json.loads(fdrd("stats", "data/fdrd", "--json", cwd=raw).stdout)[0]["domain"] == "raw"
    assert fdrd("validate", "data/fdrd", cwd=raw).stdout == "data/fdrd: valid\n"
    shard = next((raw / "data/fdrd/data").rglob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    broken = fdrd("validate", "data/fdrd", cwd=raw)
    assert (broken.returncode, "sha256" in broken.stdout) == (1, True)


def test_explain_says_which_layout_was_recognised(raw):
    done = fdrd("build", "--source", "raw", "--explain", cwd=raw)
    assert done.stdout.startswith("raw: image_folder, because images lie in folders of categories")
    assert not (raw / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "--source", "nowhere"),
        ("stats", "nowhere"),
        ("validate", "raw"),
        ("build", "--source", "raw", "--out", "raw/wren/0.png"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(raw, arguments):
    done = fdrd(*arguments, cwd=raw)
    assert done.returncode == 2
    assert done.stderr.startswith("fdrd: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_misspelt_option_is_exit_2_with_a_suggestion(raw):
    done = fdrd("build", "--sorce", "raw", cwd=raw)
    assert done.returncode == 2
    assert "--source" in done.stderr


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half_written(raw):
    command = [sys.executable, "-m", "cli", "build", "--source", "raw", "--workers", "2"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(raw / "cache")}
    child = subprocess.Popen(command, cwd=raw, env=environment, stderr=subprocess.PIPE, text=True)
    while not (raw / "data/fdrd.work").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    stderr = child.communicate(timeout=60)[1]
    assert child.returncode == 130, stderr
    assert "the same command goes on from there" in stderr
    assert not (raw / "data/fdrd").exists()
    assert fdrd("build", "--source", "raw", cwd=raw).returncode == 0
    assert fdrd("validate", "data/fdrd", cwd=raw).returncode == 0
