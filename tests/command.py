"""Run `fdrd`: in this process, or in a process of its own where that matters."""

import contextlib
import io
import os
import subprocess
import sys

from fdrd import __main__ as cli


def run_fdrd(*arguments):
    """Run a command as `main` does; return exit code, stdout and stderr. A traceback is raised."""
    before, printed, told, code = sys.argv, io.StringIO(), io.StringIO(), 0
    sys.argv = ["fdrd", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            cli.main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    return code, printed.getvalue(), told.getvalue()


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
