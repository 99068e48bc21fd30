"""Functions have at most 80 lines and 12 parameters, or a `Note:` in their docstring gives the reason."""

import ast
import re
from pathlib import Path

import pytest
from test_glossary import files

ROOT = Path(__file__).parent.parent
MOST_LINES, MOST_PARAMETERS = 80, 12


def too_large(source):
    """Yield the name of each function that is too large, with its lines and parameters."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            parameters = len(named) + bool(given.vararg) + bool(given.kwarg)
            lines = (node.end_lineno or 0) - node.lineno + 1
            noted = re.search(r"^Note:\n +\S", ast.get_docstring(node) or "", re.M)
            if (lines > MOST_LINES or parameters > MOST_PARAMETERS) and not noted:
                yield f"{node.name}: {lines} lines, {parameters} parameters"


def test_functions_are_small_or_give_a_reason():
    found = {
        str(path.relative_to(ROOT)): list(too_large(path.read_text(encoding="utf-8")))
        for path in files("*.py")
    }
    assert len(found) > 500
    assert {path: names for path, names in found.items() if names} == {}


LONG = "def long():\n" + "    print()\n" * 80
MANY = f"async def many(*, {', '.join('abcdefghijklm')}):"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (LONG, ["long: 81 lines, 0 parameters"]),
        (LONG.replace("    print()\n", "", 1), []),
        (f"{MANY} pass", ["many: 1 lines, 13 parameters"]),
        (f'{MANY}\n    """Do it.\n\n    Note:\n        A reason.\n    """', []),
        (f'{MANY}\n    """Do it.\n\n    Note:\n    """', ["many: 5 lines, 13 parameters"]),
    ],
)
def test_a_large_function_is_found_unless_it_gives_a_reason(source, expected):
    assert list(too_large(source)) == expected
