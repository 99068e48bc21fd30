"""File system errors during a build say how to fix them."""

import errno
import os

import pytest

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.storage.publish import lock_output


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EFBIG, "free some space"),
        (errno.EACCES, "change the permissions"),
        (errno.EROFS, "change the permissions"),
    ],
)
def test_file_system_errors_say_how_to_fix_them(tmp_path, code, remedy):
    failure = OSError(code, os.strerror(code), str(tmp_path / "raw"))
    with pytest.raises(FdrdError, match=f"raw: .*; {remedy}"), lock_output(tmp_path / "out"):
        raise failure


def test_an_error_without_a_file_names_the_output(tmp_path):
    failure = OSError(errno.EIO, os.strerror(errno.EIO))  # e.g. of a read
    message = "out: Input/output error; check the disk"
    with pytest.raises(FdrdError, match=message), lock_output(tmp_path / "out"):
        raise failure


@pytest.mark.parametrize("name", ["loop", "loop/inside"])
def test_a_link_to_itself_is_refused(birds, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    message = "loop is a link that leads to itself; remove it"
    with pytest.raises(FdrdError, match=message) as failure:
        build(birds, tmp_path / name, workers=1)
    assert "\n" not in str(failure.value)


def test_a_link_to_a_folder_is_followed_and_shares_its_lock_and_work_folder(birds, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "out")
    assert build(birds, tmp_path / "near", workers=1).out == tmp_path / "far/out"
    assert (tmp_path / "near").is_symlink()
    assert build(birds, tmp_path / "far" / "out", workers=1).nothing_to_do
    assert not (tmp_path / "near.work").exists()
