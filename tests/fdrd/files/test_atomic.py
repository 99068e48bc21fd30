"""A failed write leaves nothing behind and names its file."""

import errno

import pytest

from fdrd.field_guide import sample
from fdrd.files.atomic import atomic_folder, write_text
from fdrd.images.check import ImageCheck
from fdrd.pipeline.collect import append_ledger
from fdrd.record import ImageRef

resource = pytest.importorskip("resource")


@pytest.fixture
def small_disk():
    """Refuse files of more than 1,000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_the_disk_refuses_names_its_file(tmp_path, small_disk):
    with pytest.raises(OSError, match=r"too large: .*summary\.json"):
        write_text(tmp_path / "summary.json", "x" * 2000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"too large: .*checks\.jsonl"):
        append_ledger(tmp_path / "checks.jsonl", [(ImageRef("x" * 2000), (0, 0), ImageCheck(""))])


def test_a_folder_that_cannot_be_synced_names_the_file(tmp_path, monkeypatch):
    def fail(folder):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fdrd.files.atomic.sync_folder", fail)
    with pytest.raises(OSError, match=r"error: .*summary\.json"):
        write_text(tmp_path / "summary.json", "x")


def test_a_folder_of_which_the_disk_refuses_a_file_is_named(tmp_path, small_disk):
    refused = pytest.raises(OSError, match=r"too large: .*out'")
    with refused, atomic_folder(tmp_path / "out") as stage:
        (stage / "big.txt").write_text("x" * 2000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"too large: .*raw'"):
        sample(tmp_path / "raw", categories=1, pairs=4, size=256, workers=1)
