"""A later run sees every change of the files of a source."""

import os

import pytest

from fdrd.storage.resume import fingerprint_source


@pytest.fixture
def source(tmp_path):
    for name in ("a/one", "a/two", "b/c/three", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(0, 10))
    return tmp_path


def resized(root):
    (root / "a/one").write_text("longer than before")
    os.utime(root / "a/one", ns=(0, 10))


CHANGES = {
    "added": lambda root: (root / "b/new").write_text(""),
    "removed": lambda root: (root / "a/two").unlink(),
    "renamed": lambda root: (root / "a/two").rename(root / "a/2"),
    "moved to another folder": lambda root: (root / "a/one").rename(root / "b/one"),
    "moved up": lambda root: (root / "a/one").rename(root / "one"),
    "folder renamed": lambda root: (root / "b/c").rename(root / "b/d"),
    "resized": resized,
    "touched": lambda root: os.utime(root / "b/c/three", ns=(0, 11)),
    "hidden file touched": lambda root: os.utime(root / ".hidden", ns=(0, 11)),
    "broken link added": lambda root: (root / "link").symlink_to("nowhere"),
    "two files exchanged": lambda root: [
        (root / one).rename(root / other)
        for one, other in (("a/one", "a/x"), ("b/c/three", "a/one"), ("a/x", "b/c/three"))
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_gives_another_fingerprint(source, change):
    before = fingerprint_source(source)
    assert fingerprint_source(source) == before
    CHANGES[change](source)
    assert fingerprint_source(source) != before


def test_the_number_of_files_and_only_they_count(source):
    before = fingerprint_source(source)
    assert before.files == 4
    (source / "empty").mkdir()
    assert fingerprint_source(source) == before
