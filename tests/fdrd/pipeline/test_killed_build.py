"""After a kill, a full disk or a read error, the next run gives the same bytes and reuses finished work."""

import errno
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from fdrd.build_config import BuildConfig
from fdrd.errors import FdrdError
from fdrd.images import check as images
from fdrd.pipeline import collect
from fdrd.pipeline.builder import build
from tests.folders import digests

SMALL = BuildConfig(shard_bytes=800)


def lines(file):
    text = file.read_text() if file.is_file() else ""
    return [line for line in text.splitlines() if line.endswith("}")]


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(collect, "IMAGES", 4)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(4))
def test_a_parallel_build_killed_at_a_random_time_resumes(birds, tmp_path, moment):
    build(birds, tmp_path / "reference", config=SMALL, workers=1)
    code = (
        "from fdrd.build_config import BuildConfig\n"
        "from fdrd.pipeline import builder, collect\n"
        "collect.IMAGES = 4\n"
        f"builder.build({str(birds)!r}, {str(tmp_path / 'out')!r},"
        " config=BuildConfig(shard_bytes=800), workers=2)"
    )
    (tmp_path / "child.py").write_text(code)
    child = subprocess.Popen([sys.executable, tmp_path / "child.py"], start_new_session=True)
    ledger = tmp_path / "out.work" / "examined.jsonl"
    while moment and child.poll() is None and not ledger.is_file():
        time.sleep(0.02)  # kill it during the work, not during imports
    time.sleep(random.Random(moment).random() * (2.0 if moment else 0.5))
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    examined = len(lines(ledger))
    build(birds, tmp_path / "out", config=SMALL, workers=2)
    assert digests(tmp_path / "out") == digests(tmp_path / "reference")
    assert len(lines(ledger)) == 48 or examined == 0


@pytest.mark.parametrize("limit", [3_000, 12_000])
def test_a_full_disk_is_a_clear_error_and_the_next_run_gives_the_same_bytes(birds, tmp_path, limit):
    build(birds, tmp_path / "reference", config=SMALL, workers=1)

    def build_with_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            build(birds, tmp_path / "out", config=SMALL, workers=1)
        except FdrdError as error:
            os._exit(0 if "free some space" in str(error) else 3)
        os._exit(4)

    child = multiprocessing.get_context("fork").Process(target=build_with_limit)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert not (tmp_path / "out").exists()
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert digests(tmp_path / "out") == digests(tmp_path / "reference")


def test_a_read_error_during_checks_is_counted_and_retried(birds, tmp_path, monkeypatch):
    build(birds, tmp_path / "reference", config=SMALL, workers=1)
    read_error(monkeypatch, "train/wren/02.png")
    built = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert built.manifest.rejected == {"read_error": 1}
    examined = len(lines(tmp_path / "out.work/examined.jsonl"))
    again = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert not again.nothing_to_do
    assert len(lines(tmp_path / "out.work/examined.jsonl")) == examined + 1
    assert digests(tmp_path / "out") == digests(tmp_path / "reference")


def test_a_read_error_during_writing_names_the_image_and_keeps_finished_shards(
    birds, tmp_path, monkeypatch
):
    reference = build(birds, tmp_path / "reference", config=SMALL, workers=1)
    examined = lines(tmp_path / "reference.work/examined.jsonl")
    last = max(json.loads(line)["path"] for line in examined)
    read_error(monkeypatch, last, after=1)
    with pytest.raises(FdrdError, match=rf"{last}.*is not now.*run the command again"):
        build(birds, tmp_path / "out", config=SMALL, workers=1)
    again = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert again.shards_written < len(reference.manifest.shards)
    assert digests(tmp_path / "out") == digests(tmp_path / "reference")


def read_error(monkeypatch, path, after=0):
    """Let one reading of an image fail, after some successful ones."""
    real_path_inside, reads = images.real_path_inside, []

    def resolve(root, name):
        reads.extend([name] if name == path else [])
        if name == path and len(reads) == after + 1:
            raise OSError(errno.EIO, "Input/output error", name)
        return real_path_inside(root, name)

    monkeypatch.setattr(images, "real_path_inside", resolve)
