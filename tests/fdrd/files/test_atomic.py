"""A failed write leaves nothing behind and names its file; of two writers of one folder, one is refused."""

import errno
import threading
from pathlib import Path

import pytest

from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_folder, sole_writer, write_text
from fdrd.images.check import ImageCheck
from fdrd.pipeline.collect import append_ledger
from fdrd.record import ImageRef
from tests.command import run_python


def test_a_write_that_the_disk_refuses_names_its_file(tmp_path, small_disk):
    check = ImageRef("x" * 2000), (0, 0), ImageCheck("")
    with small_disk(1000), pytest.raises(OSError, match=r"too large: .*summary\.json"):
        write_text(tmp_path / "summary.json", "x" * 2000)
    assert list(tmp_path.iterdir()) == []
    with small_disk(1000), pytest.raises(OSError, match=r"too large: .*checks\.jsonl"):
        append_ledger(tmp_path / "checks.jsonl", [check])


def test_a_folder_that_cannot_be_synced_names_the_file(tmp_path, monkeypatch):
    def fail(folder):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fdrd.files.atomic.sync_folder", fail)
    with pytest.raises(OSError, match=r"error: .*summary\.json"):
        write_text(tmp_path / "summary.json", "x")


def test_a_folder_of_which_the_disk_refuses_a_file_is_named(tmp_path, small_disk):
    refused = pytest.raises(OSError, match=r"too large: .*out'")
    with small_disk(1000), refused, atomic_folder(tmp_path / "out") as stage:
        (stage / "big.txt").write_text("x" * 2000)
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused_at_once(tmp_path):
    with atomic_folder(tmp_path / "out") as stage:
        (stage / "1.txt").write_text("x")
        refused = pytest.raises(FdrdError, match=r"another process is writing .*out")
        with refused, atomic_folder(tmp_path / "out"):
            pytest.fail("it has begun to write")
        with atomic_folder(tmp_path / "other") as other:
            (other / "1.txt").write_text("y")
    assert (tmp_path / "out/1.txt").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_all_names_of_a_folder_have_one_lock(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    refused = pytest.raises(FdrdError, match="another process")
    with sole_writer(tmp_path / "link"), refused, sole_writer(Path("real")):
        pytest.fail("it has begun to write")
    with atomic_folder(tmp_path / "link") as stage:
        (stage / "1.txt").write_text("x")
    assert (tmp_path / "real/1.txt").read_text() == "x"


def test_a_killed_writer_leaves_what_the_next_one_removes(tmp_path):
    code = (
        "import os; from pathlib import Path; from fdrd.files.atomic import atomic_folder\n"
        "with atomic_folder(Path('out')) as stage:\n"
        "    (stage / 'half.txt').write_text('x'); os._exit(1)"
    )
    run_python("-c", code, cwd=tmp_path, check=False)
    assert any(tmp_path.iterdir())
    (tmp_path / ".out.b.12345678.partial").mkdir()  # of a folder `out.b`
    (tmp_path / ".out.12345678.partial").write_text("of a file")
    with atomic_folder(tmp_path / "out") as stage:
        (stage / "all.txt").write_text("x")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".out.12345678.partial", ".out.b.12345678.partial", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["all.txt"]


def test_of_many_writers_each_writes_everything_or_nothing(tmp_path):
    """Threads have locks of their own, as processes do."""
    written, refused, wrong = [], [], []
    start = threading.Barrier(8)

    def write(number):
        start.wait()
        for turn in range(40):
            out = tmp_path / f"{turn % 4}"
            try:
                with atomic_folder(out) as stage:
                    for name in "abcd":
                        (stage / name).write_text(f"{number}")
                written.append((out, number))
            except FdrdError:
                refused.append(number)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(written) == 4
    assert len(refused) == 8 * 40 - 4
    for out, number in written:
        assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(
            "abcd", f"{number}"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]
