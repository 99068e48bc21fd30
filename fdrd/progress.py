"""How the library tells the command line what it is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage in words, what is done of it, and how much there is (0: not known yet).

What a stage says behind " | " may change from call to call: a loss, a score.
"""


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""
