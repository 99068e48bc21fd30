"""The published annotations, if $FDRD_REAL or a folder beside the project has a copy."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("FDRD_REAL", Path(__file__).parents[2] / "shared" / "real"))
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no copy of the published annotations")
