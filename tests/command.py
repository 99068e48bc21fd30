"""Run `fdrd` in a process of its own."""

import os
import subprocess
import sys


def start_fdrd(folder, *arguments, **variables):
    """Start a command in a folder, with its caches there and without the Hub."""
    environment = {
        **os.environ,
        **{"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        **{"HF_HOME": str(folder / "cache"), "FDRD_CACHE": str(folder / "cache" / "fdrd")},
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "fdrd", *map(str, arguments)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
