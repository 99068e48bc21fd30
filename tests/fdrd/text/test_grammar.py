"""`inflect` is imported without typeguard, which others may use."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("earlier", ["typeguard", "sys"])
def test_typeguard_works_before_and_after_inflect_was_imported(earlier):
    code = (
        f"import sys, {earlier}; before = sys.modules.get('typeguard')\n"
        "from fdrd.text.grammar import article; article('hour')\n"
        "assert sys.modules.get('typeguard') is before\n"
        "import typeguard; typeguard.check_type(1, int)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
