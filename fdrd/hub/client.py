"""The client of the Hub, and its errors as one line. A message never contains a token."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fdrd.build_config import BuildConfig
from fdrd.connection import guard_client
from fdrd.errors import FdrdError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_CONFLICT = 412
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError)
"""What the client raises for an answer that is not what the Hub sends."""
_RESUME = "uploaded files are kept, so run the same command again to resume"


def open_client(*, must_write: bool) -> HfApi:
    """Return a client that uses the token of this machine; raise `FdrdError` if it `must_write` and there is none."""
    from huggingface_hub import HfApi, get_token

    guard_client()
    if must_write and not get_token():
        raise FdrdError(
            "no Hub token found; run `hf auth login`, or set HF_TOKEN to a token with write access"
        )
    return HfApi(library_name="fdrd")


def start_name_check(name: str) -> Callable[[], bool]:
    """Ask the Hub for a dataset of a name in the background: `load_dataset` takes it instead of a build.

    Returns a function that says whether it was found so far, and never waits. The default name is not asked for, and
    with `HF_HUB_OFFLINE` only the Hub's local cache is read.
    """
    from huggingface_hub import constants

    found = threading.Event()

    def ask() -> None:
        with suppress(Exception):  # whatever the client raises: there is no answer
            from huggingface_hub import HfApi  # with an HTTP client, which no other build needs

            if HfApi().repo_exists(name, repo_type="dataset"):
                found.set()

    if Path(constants.HF_HUB_CACHE, f"datasets--{name}").is_dir():
        found.set()
    elif name != BuildConfig().name and not constants.HF_HUB_OFFLINE:
        threading.Thread(target=ask, daemon=True).start()
    return found.is_set


@contextmanager
def readable_errors(repo_id: str) -> Iterator[None]:
    """Turn client errors into one-line messages that say what to do."""
    try:
        yield
    except FdrdError:
        raise
    except Exception as error:
        message = _explain(_cause(error), repo_id)
        if message is None and not isinstance(error, _UNREADABLE):
            raise
        reason = f"{type(error).__name__}: {first_line(error)[:300]}"
        message = message or f"{repo_id}: the Hub's answer is not usable ({reason})"
        raise FdrdError(re.sub(r"hf_\w{6,}", "hf_***", " ".join(message.split()))) from error


@contextmanager
def quiet_client() -> Iterator[None]:
    """Hide the client's own progress bars and warnings."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    hidden, verbosity = are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if not hidden:
            enable_progress_bars()


def _explain(error: BaseException, repo_id: str) -> str | None:
    from huggingface_hub import constants, errors

    status, detail = _status(error), str(getattr(error, "server_message", None) or "").strip()
    first = first_line(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it and run the command again"
    if status == 401 and "credentials" in f"{detail}{error}":
        return "the Hub rejected the token; run `hf auth login --force`, or set HF_TOKEN again"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo_id} has no such branch, tag, or pull request; name one that it has"
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return (
            f"{repo_id} does not exist on the Hub, or this token cannot see it; check the name, "
            "or use a token with access"
        )
    if status is None and _is_network(error):
        return f"no connection to {constants.ENDPOINT} ({first}); {_RESUME}"
    if status in _TRANSIENT:
        return f"the Hub returned {status}; {_RESUME}"
    if isinstance(error, RuntimeError) or type(error).__module__.startswith("hf_xet"):
        return f"the upload failed ({first}); {_RESUME}"
    if status == _CONFLICT:
        return f"{repo_id} changed during the push, which would undo it; run the command again"
    if status == 401:
        return "the Hub requires a token with write access; run `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return (
            f"this token cannot write to {repo_id.split('/')[0]}; use a token with write access, choose another "
            f"`repo_id`, or open a pull request with `pull_request` ({detail or 'forbidden'})"
        )
    return f"the Hub refused the request ({status}): {detail or first}" if status else None


def is_of_hub(error: BaseException) -> bool:
    """Return whether the Hub or the connection to it is to blame, not the content of its files."""
    return _status(_cause(error)) is not None or _is_network(_cause(error))


def _cause(error: BaseException) -> BaseException:
    """Return the underlying error; the client wraps upload errors in RuntimeError."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_network(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # The base class of Hub errors is the base class of the HTTP library in use.
    library = HfHubHTTPError.__mro__[1]
    known = isinstance(error, (library, ConnectionError, TimeoutError))
    return known and not isinstance(error, OfflineModeIsEnabled)
