"""Devices by name, as far as they can be refused without importing torch."""

from __future__ import annotations

import ctypes
import re
import sys
from importlib.metadata import PackageNotFoundError, version

from fdrd.errors import FdrdError

KINDS = ("cpu", "cuda", "mps", "xpu", "hpu", "xla", "mtia", "npu")
"""Kinds of devices that torch may have."""


def check_device(name: str | None) -> None:
    """Refuse a device that is certainly not here. Torch decides on the others.

    Raises:
        FdrdError: there is no such device.
    """
    if name is not None and (reason := _obstacle(name)):
        raise FdrdError(
            f"`device` {name}: not available here ({reason}); leave it out, or give cpu"
        )


def _obstacle(name: str) -> str:
    """Return why a device is certainly not here; empty if it may be."""
    found = re.fullmatch(r"([a-z]+)(:\d+)?", name)
    if found is None or found[1] not in KINDS:
        return f"write one of {', '.join(KINDS)}, e.g. cuda:1"
    if found[1] == "mps" and sys.platform != "darwin":
        return "mps needs a Mac"
    if found[1] == "cuda":
        try:
            torch = version("torch")
        except PackageNotFoundError:
            return ""
        if "+cpu" in torch or sys.platform == "darwin":
            return f"torch {torch} has no CUDA"
        if sys.platform == "linux" and "+rocm" not in torch and not _loads("libcuda.so.1"):
            return "no driver of an NVIDIA GPU"
    return ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
