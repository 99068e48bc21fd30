"""Runs `fdrd demo` in an empty folder, with empty caches, and draws what a terminal shows as an SVG.

    python tools/record_demo.py docs/images/demo.svg

The picture in README.md is made by it. Nothing is cut or put in but the first line, the command; where a
long line would leave the window it goes on in the next.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100
COMMAND = ("-m", "fdrd", "demo")


def main() -> None:
    """Run, draw, and say how long it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shown = record(Path(folder))
    given.picture.write_text(as_svg(shown), encoding="utf-8")
    print(f"fdrd demo took {time.monotonic() - started:.0f} s; drawn in {given.picture}")


def record(folder: Path) -> str:
    """What the command writes, progress first: stderr as a log has it, stdout as a terminal does."""
    home = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    caches = {name: str(folder / "cache") for name in ("FDRD_CACHE", "HF_HOME")}
    environment = {**os.environ, **caches, "PYTHONPATH": path, "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *COMMAND], cwd=folder, env={**environment, "COLUMNS": str(COLUMNS)},
        stdout=theirs, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(theirs)
    written: list[str] = []
    reader = threading.Thread(target=lambda: written.append(_all_of(ours)))
    reader.start()
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        told.append(line)
    if process.wait():
        sys.exit(f"fdrd demo failed with {process.returncode}")
    reader.join()
    return "".join([*told, *written])


def _all_of(descriptor: int) -> str:
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # how Linux says that the other end is closed
        pass
    return b"".join(parts).decode().replace("\r\n", "\n")


def as_svg(shown: str) -> str:
    """A window with the command and what it showed; no font is fetched."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(Text("$ fdrd demo", style="bold"))
    console.print(Text.from_ansi(shown))
    drawn = console.export_svg(title="fdrd demo", unique_id="demo")
    return re.sub(r"@font-face\s*{.*?}", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    main()
