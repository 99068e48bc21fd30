"""User modules that register methods or captioners when they are imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from fdrd.errors import FdrdError


def load_plugin(module: str) -> None:
    """Import a module, or a Python file, that registers methods or captioners, as `--plugin` does.

    A module may also be in the current folder.

    Raises:
        FdrdError: it cannot be imported.
    """
    if "" not in sys.path:
        sys.path.append("")  # last, so that no folder there hides a package
    try:
        if module.endswith(".py"):
            import_file(module)
        else:
            importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise FdrdError(
            f"`plugin` {module}: {error}; give a .py file, or a module that is installed, in the "
            f"current folder or on PYTHONPATH"
        ) from error


def import_file(file: str) -> ModuleType:
    """Import a Python file under a name of its own, once.

    Raises:
        OSError: there is no such file.
        ImportError: it is not Python.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = f"file_{path.stem}"
    if (known := sys.modules.get(name)) and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
