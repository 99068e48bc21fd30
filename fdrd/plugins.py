"""Plugins: modules that register methods or captioners when they are imported."""

from __future__ import annotations

import importlib

from fdrd.errors import FdrdError


def load_plugin(module: str) -> None:
    """Import a module that registers methods or captioners, as `--plugin` does.

    Raises:
        FdrdError: the module cannot be imported.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise FdrdError(
            f"--plugin {module}: {error}; the module must be importable: install it, or set PYTHONPATH"
        ) from error
