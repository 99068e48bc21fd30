"""A failed write leaves nothing behind and names its file."""

import pytest

from fdrd.files.atomic import write_text

resource = pytest.importorskip("resource")


def test_a_write_that_the_disk_refuses_names_its_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"too large: .*summary\.json"):
            write_text(tmp_path / "summary.json", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
