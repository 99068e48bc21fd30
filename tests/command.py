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


def run_python(*arguments, **options):
    """Run Python in a process of its own, which has to end well unless `check=False`; return what it printed."""
    options = {"check": True, "capture_output": True, "text": True} | options
    return subprocess.run([sys.executable, *map(str, arguments)], **options)


def start_fdrd(folder, *arguments, **variables):
    """Start a command in a folder, with its caches there and without the Hub."""
    cache = {"HF_HOME": str(folder / "cache"), "FDRD_CACHE": str(folder / "cache" / "fdrd")}
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **cache,
        **variables,
    }
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "fdrd", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, env=environment, **output)
