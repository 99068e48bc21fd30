"""One more process of an experiment: `python -m benchmark.experiments.worker`, with the job on the first line of stdin.

The end of stdin asks it to stop, even if its parent process was killed. It saves its training first.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading

import msgspec

from benchmark.experiments.execution import Job, run_experiment


def main() -> None:
    """Run the experiment until it is finished or stdin ends."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)

    def watch() -> None:
        sys.stdin.buffer.read()
        _thread.interrupt_main()

    # A shell starts background jobs with SIGINT ignored, and then `interrupt_main` does nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=watch, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        run_experiment(**msgspec.structs.asdict(job))


if __name__ == "__main__":
    main()
