"""Imports: public names when they are first used, files of the user, and folders that hide packages of fdrd."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from fdrd.errors import FdrdError


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


def load_plugin(module: str) -> None:
    """Import a module, also of the current folder, or a Python file, that registers methods or captioners.

    Raise `FdrdError` if it cannot be imported.
    """
    if "" not in sys.path:
        sys.path.append("")  # last, so that no folder there hides a package
    try:
        if module.endswith(".py"):
            import_file(module)
        else:
            import_module(module)
    except (ImportError, OSError) as error:
        raise FdrdError(
            f"`plugin` {module}: {error}; give a .py file, or a module that is installed, in the "
            f"current folder or on PYTHONPATH"
        ) from error


def import_file(file: str) -> ModuleType:
    """Import a Python file under a name of its own, once; raise `OSError` or `ImportError`."""
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = f"file_{path.stem}"
    if (known := sys.modules.get(name)) and known.__file__ == str(path):
        return known
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
