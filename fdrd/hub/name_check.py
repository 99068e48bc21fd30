"""Whether the Hub has a dataset of the same name, which `datasets.load_dataset` takes instead of a build."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from fdrd.build_config import BuildConfig


def start_name_check(name: str) -> Callable[[], bool]:
    """Ask the Hub for a dataset in the background, and return a function that says whether it was found so far.

    The function never waits. The default name is not asked for, and with `HF_HUB_OFFLINE` only the Hub's local
    cache is read.
    """
    from huggingface_hub import constants

    found = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):  # whatever the client raises: there is no answer
            from huggingface_hub import HfApi  # with an HTTP client, which no other build needs

            if HfApi().repo_exists(name, repo_type="dataset"):
                found.set()

    if Path(constants.HF_HUB_CACHE, f"datasets--{name}").is_dir():
        found.set()
    elif name != BuildConfig().name and not constants.HF_HUB_OFFLINE:
        threading.Thread(target=ask, daemon=True).start()
    return found.is_set
