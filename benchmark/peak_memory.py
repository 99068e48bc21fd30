"""Peak memory of a run: of the accelerator, or on the CPU of the whole process, in MB (10^6 bytes)."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import torch


def reset_peak(device: str) -> None:
    """Start a new measurement."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes(device: str) -> float | None:
    """Return the peak since `reset_peak`; None if the system does not report it."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None
