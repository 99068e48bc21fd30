"""Folders of tests: caches of their own, and digests to compare them."""

import contextlib
import hashlib
import itertools
from pathlib import Path

import pytest

from fdrd.errors import FdrdError


def digests(folder):
    """Return the SHA-256 of each file by its path in the folder."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def caches_in(folder):
    """Let the block use caches in `folder/cache`, without the Hub and without waiting for readers."""
    import datasets

    cache = folder / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(cache))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("FDRD_CACHE", str(cache / "fdrd"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
        patch.setattr("fdrd.storage.registration._READING", 0)  # no other process reads
        yield cache


def at_step(step, action):
    """Return a progress function that acts once, at a step of the work."""
    calls = itertools.count()
    return lambda *_: action() if next(calls) == step else None


@contextlib.contextmanager
def refused_at(step, write):
    """Give a progress function that writes at a step of the work, and is refused as a second writer."""
    refused = []

    def second():
        with pytest.raises(FdrdError, match="another process is writing") as error:
            write()
        refused.append(error.value)

    yield at_step(step, second)
    assert len(refused) == 1
