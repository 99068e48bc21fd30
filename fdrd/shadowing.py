"""Folders that hide fdrd's other packages, e.g. a `benchmark/` next to the script that imports fdrd."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def hidden_packages() -> str:
    """Return what hides packages that are installed next to `fdrd`, as a sentence; empty if nothing does."""
    home = Path(__file__).parent.parent
    for name in ("benchmark", "baselines", "dcar"):
        spec = find_spec(name)
        if spec and spec.origin and Path(spec.origin).parent.parent != home:
            return (
                f"{spec.origin} hides the package {name!r} of fdrd; rename it, or run from another "
                f"folder"
            )
    return ""
