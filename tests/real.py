"""The published annotations, if $FDRD_REAL or a folder beside the project has a copy."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("FDRD_REAL", Path(__file__).parents[2] / "shared" / "real"))
_missing = pytest.mark.skipif(not REAL.is_dir(), reason="no copy of the published annotations")


def needs_real(test):
    """Mark a slow test of thousands of published captions; drawn data show the same rules."""
    return pytest.mark.slow(_missing(test))
