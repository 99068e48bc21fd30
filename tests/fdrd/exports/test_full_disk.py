"""A full disk ends `fdrd export` and `fdrd sample` in one line, and leaves nothing."""

import pytest

from fdrd.exports import FORMATS
from tests.command import run_fdrd


@pytest.mark.parametrize("form", [*FORMATS, "sample"])
def test_a_full_disk_ends_a_command_in_one_line(form, built_birds, tmp_path, small_disk):
    out = tmp_path / "full" / "out"
    command = ("export", built_birds.out, out, "--to", form)
    if form == "sample":
        command = ("sample", out, "--categories", 2, "--pairs", 8, "--workers", 1)
    small_disk(300)
    code, _, told = run_fdrd(*command)
    errors = [line for line in told.splitlines() if line.startswith("fdrd:")]
    assert (code, len(errors)) == (2, 1), told
    assert f"{out}: File too large; free some space" in errors[0]
    assert not list(out.parent.iterdir())
