"""Import the public names of a package when they are first used, and find folders that hide packages of fdrd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` of a package. `modules` are public names, with spaces, by module.

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


def hidden_packages() -> str:
    """Return what hides a package next to `fdrd`, e.g. a `benchmark/` of the user, as a sentence; empty if nothing."""
    home = Path(__file__).parent.parent
    for name in ("benchmark", "baselines", "dcar"):
        spec = find_spec(name)
        if spec and spec.origin and Path(spec.origin).parent.parent != home:
            return f"{spec.origin} hides the package {name!r} of fdrd; rename it, or run from another folder"
    return ""
