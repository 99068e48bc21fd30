"""After a kill, a full disk or a read error, the next run gives the same bytes and reuses finished work."""

import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fdrd.build_config import BuildConfig
from fdrd.errors import FdrdError
from fdrd.images import check as images
from fdrd.pipeline import collect
from fdrd.pipeline.builder import build
from tests.folders import digests

SMALL = BuildConfig(shard_bytes=800)
MOMENTS = 30
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")


def lines(file):
    return (
        [line for line in file.read_text().splitlines() if line.endswith("}")]
        if file.is_file()
        else []
    )


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(collect, "IMAGES", 4)


def build_until(source, out, moment, events):
    """Build in this process, and kill it before the file event with this number."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        names = [each for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
        if event in EVENTS and any(str(out) in os.fsdecode(name) for name in names):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    build(source, out, config=SMALL, workers=1)
    events.put(count)


def in_child(source, out, moment):
    """Build in a child process; return its number of file events, or None if it was killed."""
    context = multiprocessing.get_context("fork")  # fast: everything is imported already
    events = context.SimpleQueue()
    child = context.Process(target=build_until, args=(source, out, moment, events))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return events.get() if child.exitcode == 0 else None


@pytest.mark.slow
def test_a_build_killed_at_any_event_resumes_to_the_same_bytes(birds, tmp_path):
    in_child(
        birds, tmp_path / "reference", 0
    )  # takes the name, so that the others register nothing
    events = in_child(birds, tmp_path / "counted", 0)
    reference = digests(tmp_path / "reference")
    shards = len(json.loads((tmp_path / "reference/manifest.json").read_text())["shards"])
    assert events > 3 * MOMENTS
    draw = random.Random(7)
    used_images = used_shards = 0
    for moment in range(MOMENTS):
        out = tmp_path / f"out{moment}"
        at = 1 + int((moment + draw.random()) * events / MOMENTS)
        assert in_child(birds, out, at) is None
        work = tmp_path / f"out{moment}.work"
        assert not out.exists() or digests(out) == reference
        examined, written = len(lines(work / "examined.jsonl")), len(lines(work / "shards.jsonl"))
        built = build(birds, out, config=SMALL, workers=1)
        assert digests(out) == reference
        again = len(lines(work / "examined.jsonl")) - examined
        assert again == 48 - examined
        if written:
            assert built.shards_written <= shards - written
        assert again + built.shards_written < 48 + shards or not examined
        used_images += 0 < examined < 48
        used_shards += 0 < written < shards
        shutil.rmtree(work)
        shutil.rmtree(out)
    assert used_images >= 1  # images cause fewer events than shards
    assert used_shards >= 3


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(8))
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


@pytest.mark.parametrize("limit", [3_000, 6_000, 12_000])
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


@pytest.mark.slow
def test_a_full_file_system_leaves_nothing_broken(birds, tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(room)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed")
    try:
        build(birds, tmp_path / "reference", config=SMALL, workers=1)
        with pytest.raises(FdrdError, match="free some space"):
            build(birds, room / "out", config=SMALL, workers=2)
        assert not (room / "out").exists()
        subprocess.run(["mount", "-o", "remount,size=8m", str(room)], check=True)
        build(birds, room / "out", config=SMALL, workers=2)
        assert digests(room / "out") == digests(tmp_path / "reference")
    finally:
        subprocess.run(["umount", str(room)], check=False)


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
    last = max(
        json.loads(line)["path"] for line in lines(tmp_path / "reference.work/examined.jsonl")
    )
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


def test_a_link_to_the_target_shares_its_lock_and_work_folder(birds, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "out")
    build(birds, tmp_path / "near", config=SMALL, workers=1)
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far/out/manifest.json").is_file()
    assert build(birds, tmp_path / "far" / "out", config=SMALL, workers=1).nothing_to_do
    assert not Path(tmp_path / "near.work").exists()
