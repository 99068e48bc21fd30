"""Options at which every method fits towers of three layers and 24 tokens, and a few epochs of 24 rows."""

from __future__ import annotations

import inspect
import re
from importlib.util import find_spec

import pytest

from benchmark.registry import get_method, method_options

SMALL = {"n_ctx": 4, "rerank": 1, "gpa_mean": 3, "adapter_epochs": 3}


def small_options(name):
    """Return the options of SMALL that a method has."""
    return {key: value for key, value in SMALL.items() if key in method_options(name)}


def missing_package(name):
    """Return a package that a method says it needs (`needs `PACKAGE``) and that is not installed."""
    text = inspect.getdoc(get_method(name)) or ""
    needed = re.search(r"needs `(\w+)`", text.partition("\n")[0])
    return needed[1] if needed and find_spec(needed[1]) is None else None


def parametrize_methods(names):
    """Run a test for each method, and skip those whose package is not installed.

    The tests of a method in a module run one after another, so that they can share a fixture.
    """

    def case(name):
        package = missing_package(name)
        mark = pytest.mark.skipif(bool(package), reason=f"needs {package}")
        return pytest.param(name, marks=mark)

    return pytest.mark.parametrize("name", list(map(case, names)), scope="module")
