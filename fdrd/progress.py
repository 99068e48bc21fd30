"""Progress callbacks, which the command line turns into progress bars."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of a stage, the number of completed items, and their total (0 if not yet known).

The text after " | " in the name may change from call to call, e.g. a loss or a score.
"""

FINISHED = "finished"
"""The stage that ends a run of a method; the text after it says what came out, on one line.

The stages of a run are named `RUN: STAGE`.
"""


def silent(stage: str, done: int, total: int) -> None:
    """Ignore all progress."""
