"""Memory that a step of a build freed does not count as memory of the next one."""

import os
import platform
from pathlib import Path

import pytest

from fdrd.pipeline.builder import return_freed_memory


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_freed_memory_between_used_memory_is_returned():
    blocks = [bytes(20_000) for _ in range(8_000)]
    kept = blocks[::40]
    del blocks
    before = resident()
    return_freed_memory()
    assert before - resident() > 100 * 2**20
    assert len(kept) == 200
