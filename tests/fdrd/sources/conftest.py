"""Read the source `raw` of a test through the reader that detects it."""

import pytest

from fdrd.sources import find_domains, read_domain


@pytest.fixture
def read(tmp_path):
    def read(reader, **options):
        (domain,) = find_domains(tmp_path / "raw")
        assert domain.reader == reader
        return list(read_domain(tmp_path / "raw", domain, **options))

    return read
