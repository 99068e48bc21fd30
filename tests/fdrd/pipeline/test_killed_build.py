"""After a kill, a full disk or a read error, the next run gives the same bytes and reuses finished work."""

import errno

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


def test_an_interrupted_build_checks_no_image_twice(birds, tmp_path, monkeypatch):
    check, tasks = collect.run_check_task, []

    def interrupted(task):
        tasks.append(task)
        if len(tasks) == 3:
            raise KeyboardInterrupt
        return check(task)

    monkeypatch.setattr(collect, "run_check_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(birds, tmp_path / "out", config=SMALL, workers=1)
    ledger = tmp_path / "out.work/examined.jsonl"
    assert len(lines(ledger)) == 8
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert len(lines(ledger)) == 48


@pytest.mark.parametrize("limit", [3_000, 12_000])
def test_a_full_disk_is_a_clear_error_and_the_next_run_gives_the_same_bytes(
    birds, tmp_path, small_disk, small_shards, limit
):
    with small_disk(limit), pytest.raises(FdrdError, match="free some space"):
        build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert not (tmp_path / "out").exists()
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert digests(tmp_path / "out") == small_shards


def test_a_read_error_during_checks_is_counted_and_retried(
    birds, tmp_path, monkeypatch, small_shards
):
    read_error(monkeypatch, "train/wren/02.png")
    built = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert built.manifest.rejected == {"read_error": 1}
    examined = len(lines(tmp_path / "out.work/examined.jsonl"))
    again = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert not again.nothing_to_do
    assert len(lines(tmp_path / "out.work/examined.jsonl")) == examined + 1
    assert digests(tmp_path / "out") == small_shards


def test_a_read_error_during_writing_names_the_image_and_keeps_finished_shards(
    birds, tmp_path, monkeypatch, small_shards
):
    last = max(path.relative_to(birds).as_posix() for path in birds.rglob("*.png"))
    read_error(monkeypatch, last, after=1)
    with pytest.raises(FdrdError, match=rf"{last}.*is not now.*run the command again"):
        build(birds, tmp_path / "out", config=SMALL, workers=1)
    again = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert again.shards_written < len(again.manifest.shards)
    assert digests(tmp_path / "out") == small_shards


def read_error(monkeypatch, path, after=0):
    """Let one reading of an image fail, after some successful ones."""
    real_path_inside, reads = images.real_path_inside, []

    def resolve(root, name):
        reads.extend([name] if name == path else [])
        if name == path and len(reads) == after + 1:
            raise OSError(errno.EIO, "Input/output error", name)
        return real_path_inside(root, name)

    monkeypatch.setattr(images, "real_path_inside", resolve)
