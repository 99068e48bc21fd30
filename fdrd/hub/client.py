"""The Hub's client with patience, and with errors that say what to do; a token is never part of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try, where the Hub does not say how long it wants to be left alone."""
_LONGEST_WAIT = 600.0
_TRANSIENT = (408, 429, 500, 502, 503, 504)
AGAIN = "what is uploaded stays there, and the same command goes on from it"


def open_client(*, must_write: bool) -> HfApi:
    """The client, with the token of this machine.

    Raises:
        FdrdError: there is no token, and the client is to write.
    """
    from huggingface_hub import HfApi, get_token

    if must_write and not get_token():
        raise FdrdError(
            "there is no Hub token on this machine; run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    return HfApi(library_name="fdrd")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may go well the next time."""
    status = _status(error)
    return _is_network(error) if status is None else status in _TRANSIENT


def patiently(call: Callable[[], T], waits: tuple[float, ...] = WAITS) -> T:
    """What `call` returns; a call that fails in a way that passes is made again."""
    for wait in waits:
        try:
            return call()
        except Exception as error:
            cause = _cause(error)
            if not is_transient(cause):
                raise
            time.sleep(wanted_wait(cause, wait))
    return call()


@contextmanager
def clear_errors(repo_id: str) -> Iterator[None]:
    """Turns what the client raises into one line with a remedy."""
    try:
        yield
    except FdrdError:
        raise
    except Exception as error:
        message = _explain(_cause(error), repo_id)
        if message is None:
            raise
        raise FdrdError(re.sub(r"hf_\w{6,}", "hf_***", message)) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars and warnings of the client while ours are shown."""
    import logging

    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    hidden = are_progress_bars_disabled()
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if not hidden:
            enable_progress_bars()


def _explain(error: BaseException, repo_id: str) -> str | None:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    namespace = repo_id.split("/")[0]
    status = _status(error)
    said = str(getattr(error, "server_message", None) or "").strip()
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it and run the command again"
    if status == 401 and ("credentials" in said or "credentials" in str(error)):
        return (
            "the Hub does not accept the token; run `hf auth login --force`, or set HF_TOKEN anew"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no such branch, tag or pull request; `--revision` takes the name of a branch"
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return (
            f"the Hub has no dataset {repo_id}, or does not show it to this token; look at the name, "
            "or use a token that may see it"
        )
    if status == 401:
        return "the Hub wants a token that may write; run `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return (
            f"this token may not write to {namespace}; use one with write access to it, choose another "
            f"--repo-id, or propose the change with --pr ({said or 'forbidden'})"
        )
    if status == 412:
        return f"somebody else changed {repo_id} again and again meanwhile; run the command again"
    if status in _TRANSIENT:
        return f"the Hub answers with {status}, and did so again and again; run the command again later: {AGAIN}"
    if status is not None:
        return f"the Hub refuses ({status}): {said or _first_line(error)}"
    if _is_network(error):
        return f"no connection to {constants.ENDPOINT} ({_first_line(error)}); {AGAIN}"
    if isinstance(error, RuntimeError) or type(error).__module__.startswith("hf_xet"):
        return f"the upload failed ({_first_line(error)}); {AGAIN}"  # as the Hub's own storage reports it
    return None


def _cause(error: BaseException) -> BaseException:
    """What went wrong below; the client wraps the error of an upload."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _is_network(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # The base of the Hub's errors is that of the HTTP library, whichever the client uses.
    library = HfHubHTTPError.__mro__[1]
    known = isinstance(error, (library, ConnectionError, TimeoutError))
    return known and not isinstance(error, OfflineModeIsEnabled)


def wanted_wait(error: BaseException, otherwise: float) -> float:
    """Seconds that the Hub wants to be left alone, `otherwise` where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return min(float(headers.get("Retry-After", otherwise)), _LONGEST_WAIT)
    except ValueError:
        return otherwise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
