"""Forms that the browser sends: read with a limit, and answered with a page of this server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fdrd.viewer.context import link

_MOST = 65536
"""Bytes of a form."""


async def form_pairs(request: Request, most: int = _MOST) -> list[tuple[str, str]]:
    """Return the fields of a form in their order.

    Raises:
        HTTPException: it has over `most` bytes.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, "The form is too large.")
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


async def in_thread(function: Callable[..., Response], *values: Any) -> Response:
    """Run a handler that may take long, so that other requests are answered meanwhile."""
    return await run_in_threadpool(function, *values)


def local(path: str) -> str:
    """Return a path of this server, whatever the form says.

    >>> local("/?q=a"), local("//evil.example"), local("https://evil.example")
    ('/?q=a', '/review', '/review')
    """
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/review"


def with_values(back: str, **values: str) -> str:
    """Return a URL with some values set, and the record and messages of the last page removed."""
    path, _, query = back.partition("?")
    pairs = [(k, v) for k, v in parse_qsl(query) if k not in ("id", "after", "saved", "problem")]
    known = dict(pairs)
    joined = "&".join(link("", **{k: v})[1:] for k, v in pairs)
    added = link("", **{k: v for k, v in values.items() if k not in known})[1:]
    rest = "&".join(filter(None, (joined, added)))
    return f"{path}?{rest}" if rest else path
