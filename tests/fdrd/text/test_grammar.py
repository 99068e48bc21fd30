"""`inflect` is imported without typeguard, which others may use."""

import pytest

from fdrd.text.grammar import MAX_LETTERS, MAX_WORDS, plural
from tests.command import run_python


@pytest.mark.parametrize("earlier", ["typeguard", "sys"])
def test_typeguard_works_before_and_after_inflect_was_imported(earlier):
    code = (
        f"import sys, {earlier}; before = sys.modules.get('typeguard')\n"
        "from fdrd.text.grammar import article; article('hour')\n"
        "assert sys.modules.get('typeguard') is before\n"
        "import typeguard; typeguard.check_type(1, int)"
    )
    run_python("-c", code)


def test_phrases_beyond_a_limit_have_no_plural():
    words = "very " * (MAX_WORDS - 1) + "bird"
    assert plural(words) == f"{words}s"
    assert plural(f"very {words}") == f"very {words}"
    letters = "x" * MAX_LETTERS
    assert plural(letters) == f"{letters}s" or plural(letters) == f"{letters}es"
    assert plural(f"x{letters}") == f"x{letters}"
