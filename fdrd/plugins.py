"""Modules of other packages that add something by being imported: methods, captioners."""

from __future__ import annotations

import importlib

from fdrd.errors import FdrdError


def load_plugin(module: str) -> None:
    """Import a module that registers methods or captioners of its own, as `--plugin` does.

    Raises:
        FdrdError: it cannot be imported.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise FdrdError(
            f"--plugin {module}: {error}; it must be importable from here, "
            f"so install it or set PYTHONPATH"
        ) from error
