"""Read the source `raw` of a test through the reader that detects it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources import find_domains, read_domain


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Record | Rejection]]:
    def read(reader: str, **options: bool) -> list[Record | Rejection]:
        (domain,) = find_domains(tmp_path / "raw")
        assert domain.reader == reader
        return list(read_domain(tmp_path / "raw", domain, **options))

    return read
