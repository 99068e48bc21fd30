"""The server of `fdrd view`: the application behind its guard, on one port, until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fdrd.errors import FdrdError
from fdrd.viewer.browse_pages import BrowsePages
from fdrd.viewer.context import Context
from fdrd.viewer.result_pages import ResultPages
from fdrd.viewer.review_pages import ReviewPages
from fdrd.viewer.security import Guard

_ANYWHERE = ("0.0.0.0", "::")
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


def application(context: Context, token: str, host: str, port: int) -> ASGIApp:
    """Return the application; it answers only to `host` and the names of this machine."""
    browse, results, review = BrowsePages(context), ResultPages(context), ReviewPages(context)
    routes = [
        Route("/", browse.browse),
        Route("/record", browse.record),
        Route("/thumb", browse.thumb),
        Route("/image", browse.image),
        Route("/rejected", browse.rejected),
        Route("/rejected/image", browse.rejected_image),
        Route("/duplicates", browse.duplicates),
        Route("/results", results.results),
        Route("/results/plot.svg", results.plot),
        Route("/results/queries", results.queries),
        Route("/results/query", results.query),
        Route("/results/top", results.top),
        Route("/review", review.page),
        Route("/review/decide", review.decide, methods=["POST"]),
        Route("/review/reviewer", review.set_reviewer, methods=["POST"]),
        Mount("/static", StaticFiles(packages=[("fdrd.viewer", "static")])),
    ]
    app = Starlette(routes=routes, exception_handlers={FdrdError: _explained})
    names = (*_LOCAL, f"[{host}]" if ":" in host else host)
    known = {f"{name}:{port}" for name in names}
    return Guard(app, token, known, f"fdrd_view_{port}", host in _ANYWHERE)


def serve(context: Context, token: str, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        context: what is shown.
        token: that the address carries.
        host: to bind to.
        port: to bind to; 0 for any that is free.
        ready: called with the address.

    Raises:
        FdrdError: the port cannot be bound.
    """
    import uvicorn

    listener = _listen(host, port)
    port = listener.getsockname()[1]
    app = application(context, token, host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=60
        )
    )
    shown = "127.0.0.1" if host in _ANYWHERE else f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{port}/?token={token}")
    with contextlib.suppress(KeyboardInterrupt), listener:
        server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise FdrdError(
            f"port {port} on {host}: {error.strerror}; choose another with --port"
        ) from None
    listener.listen(128)
    return listener


def _explained(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 500)
