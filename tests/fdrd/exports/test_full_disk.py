"""A full disk ends `fdrd export` and `fdrd sample` in one line, and leaves nothing."""

import errno
import os
from pathlib import Path

import pytest

from fdrd.exports import FORMATS
from tests.command import run_fdrd
from tests.folders import caches_in
from tests.tampering import build_small


class FullFile:
    """A file of which only a few bytes fit on the disk; its error names no file, as that of `write`."""

    def __init__(self, file, room=300):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def writelines(self, lines):
        for line in lines:
            self.write(line)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with caches_in(folder):
        return build_small(folder)


@pytest.fixture
def full(tmp_path, monkeypatch):
    """Return a folder on a disk that is full."""
    before = Path.open

    def opened(self, mode="r", *more, **options):
        file = before(self, mode, *more, **options)
        inside = self.is_relative_to(tmp_path / "full")
        return FullFile(file) if inside and set(mode) & set("wax") else file

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr("tarfile.bltn_open", lambda name, mode: opened(Path(name), mode))
    (tmp_path / "full").mkdir()
    return tmp_path / "full"


def check(code, told, folder):
    errors = [line for line in told.splitlines() if line.startswith("fdrd:")]
    assert (code, len(errors)) == (2, 1), told
    assert f"{folder}: No space left on device; free some space" in errors[0]


@pytest.mark.parametrize("form", sorted(FORMATS.keys() - {"parquet"}))  # Arrow opens its own files
def test_an_export_ends_in_one_line(form, full, data):
    code, _, told = run_fdrd("export", data, full / "out", "--to", form)
    check(code, told, full / "out")
    assert not list(full.iterdir())


def test_a_sample_ends_in_one_line(full):
    size = ("--categories", 2, "--pairs", 8, "--workers", 1)
    code, _, told = run_fdrd("sample", full / "raw", *size)
    check(code, told, full / "raw")
