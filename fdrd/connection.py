"""Access to the Hugging Face Hub: no retries without a connection, and no answer that leads out of a cache."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from fdrd.errors import FdrdError

PATIENCE = 2.0  # seconds in which the Hub must answer
_NAMES = ("ETag", "X-Linked-Etag", "X-Repo-Commit")
"""Headers that the client uses as names of files in its cache."""


def guard_client() -> None:
    """Make the Hub's client refuse headers that would let it write outside of its cache."""
    from huggingface_hub import get_session

    client = get_session()
    hooks = client.event_hooks
    if _refuse_paths not in hooks["response"]:
        client.event_hooks = {**hooks, "response": [*hooks["response"], _refuse_paths]}


def _refuse_paths(response: Any) -> None:
    for name in _NAMES:
        value = response.headers.get(name, "").removeprefix("W/")
        if "/" in value or "\\" in value or value.strip('"') in (".", ".."):
            raise FdrdError(
                f"{response.url.host} sent {name}: {value[:80]}, which leads out of the cache; refused"
            )


@contextmanager
def hub_or_cache() -> Iterator[bool]:
    """Use the Hub inside the block, or only its cache if it does not answer in time. Yield whether the Hub is used."""
    import datasets
    from huggingface_hub import constants

    guard_client()
    if constants.HF_HUB_OFFLINE or hub_answers():
        yield not constants.HF_HUB_OFFLINE
        return
    modules: tuple[Any, ...] = (constants, datasets.config)
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        yield False
    finally:
        for module, offline in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = offline


def hub_answers() -> bool:
    """Return whether the Hub can be reached; a failure is tried again after a minute."""
    from huggingface_hub import constants

    return _answers(constants.ENDPOINT, int(time.monotonic() // 60))


@lru_cache(maxsize=1)
def _answers(endpoint: str, minute: int) -> bool:
    from huggingface_hub import get_session

    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=PATIENCE)
        except Exception:  # whatever the HTTP library raises: there is no answer
            return
        answered.set()

    # A thread, because no time limit applies to looking up the address.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()
