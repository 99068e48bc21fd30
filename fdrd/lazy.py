"""Import the public names of a package when they are first used, so that importing the package is fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` of a package.

    Args:
        package: name of the package.
        modules: public names by module, separated by spaces.

    >>> names, get, _ = lazy_exports("example", {"fdrd.errors": "FdrdError CheckError"})
    >>> names, get("FdrdError")
    (['CheckError', 'FdrdError'], <class 'fdrd.errors.FdrdError'>)
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(module_of[name]), name)

    return sorted(module_of), get, lambda: sorted(module_of)
