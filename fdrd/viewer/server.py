"""The server of `fdrd view`: the application behind its guard, on one port, until Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import socket
import sqlite3
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fdrd.errors import FdrdError
from fdrd.viewer import browse_pages, result_pages, review_pages  # noqa: F401  # register their pages
from fdrd.viewer.context import Context
from fdrd.viewer.meaning import WaitingError
from fdrd.viewer.pages import ROUTES
from fdrd.viewer.security import Guard

if TYPE_CHECKING:
    import uvicorn

_ANYWHERE = ("0.0.0.0", "::")
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_EXPLAINED = (FdrdError, OSError, sqlite3.Error)
"""What a damaged file or a full disk raises while the viewer is open: a page names it."""
_GRACE = 2  # seconds that a request may take after Ctrl-C


def application(context: Context, token: str, host: str, port: int) -> ASGIApp:
    """Return the application; it answers only to `host` and the names of this machine."""
    routes: list[BaseRoute] = [
        Route(path, partial(handler, context), methods=[method])
        for path, (method, handler) in ROUTES.items()
    ]
    routes.append(Mount("/static", StaticFiles(packages=[("fdrd.viewer", "static")])))

    def explained(request: Request, error: Exception) -> Response:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        return context.page(request, "problem.html", 503, problem=text)

    def wait(request: Request, error: Exception) -> Response:
        return context.page(request, "waiting.html", waiting=error)

    handlers: dict[Any, Any] = {**dict.fromkeys(_EXPLAINED, explained), WaitingError: wait}
    app = Starlette(routes=routes, exception_handlers=handlers)
    names = (*_LOCAL, f"[{host}]" if ":" in host else host)
    known = {f"{name}:{port}" for name in names}
    return Guard(app, token, known, f"fdrd_view_{port}", host in _ANYWHERE)


def serve(context: Context, token: str, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        context: what is shown.
        token: secret that the address carries.
        host: address to bind to.
        port: port to bind to; 0 for any that is free.
        ready: function that is called with the address.

    Raises:
        FdrdError: the port cannot be bound.
    """
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    server = server_of(application(context, token, host, port))
    shown = "127.0.0.1" if host in _ANYWHERE else f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{port}/?token={token}")
    with contextlib.suppress(KeyboardInterrupt):
        run(server, listener)


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run a server until it ends; a request that is cut off by the end is no error."""
    log = logging.getLogger("uvicorn.error")

    def running(_: logging.LogRecord) -> bool:
        return not server.should_exit

    log.addFilter(running)
    try:
        with listener:
            server.run(sockets=[listener])
    finally:
        log.removeFilter(running)


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Return the server of an application; requests that are half sent do not keep it from ending."""
    import uvicorn

    settings: dict[str, Any] = {"log_level": "error", "access_log": False, "lifespan": "off"}
    settings |= {"timeout_keep_alive": 60, "timeout_graceful_shutdown": _GRACE}
    return uvicorn.Server(uvicorn.Config(app, **settings))


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address to bind to.

    >>> is_local("127.0.0.1"), is_local("::1"), is_local("localhost"), is_local("0.0.0.0"), is_local("example.org")
    (True, True, True, False, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        problem = f"port {port} on {host}: {error.strerror}"
        raise FdrdError(f"{problem}; choose another with --port") from None
    listener.listen(128)
    return listener
