"""Checks before every page: the secret token, Host and Origin; and the security headers."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from html import escape
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@contextmanager
def redirect_file(address: str) -> Iterator[Path]:
    """Yield a page that only this user can read and that leads to an address; it is removed when the block ends.

    A browser is started with its name, because everyone on a machine can read command lines, and an address with a
    token gives access.
    """
    with TemporaryDirectory(prefix="fdrd-view-") as folder:
        page = Path(folder, "open.html")
        page.touch(0o600)
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={escape(address)}">'
            f'<a href="{escape(address)}">Open the viewer</a>\n',
            encoding="utf-8",
        )
        yield page


class Guard:
    """ASGI middleware. A request needs a known Host, the token in a cookie, and a known Origin to change anything."""

    def __init__(
        self, app: ASGIApp, token: str, hosts: Collection[str], cookie: str, addresses: bool = False
    ):
        """`addresses` accepts any IP address as Host: only a name can be rebound to this machine."""
        self._app, self._token, self._hosts, self._cookie = app, token, frozenset(hosts), cookie
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused, and pass all others on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._is_known(host):
            return PlainTextResponse("Unknown host.", 421)
        writes = scope["method"] not in ("GET", "HEAD")
        if writes and headers.get("origin", "") != f"http://{host}":
            return PlainTextResponse("This request comes from another site.", 403)
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = dict(pairs).get("token")
        if token is not None and scope["method"] == "GET" and self._is_token(token):
            rest = urlencode([pair for pair in pairs if pair[0] != "token"])
            path = "/" + quote(scope["path"].lstrip("/"))  # never to another site, as `//host`
            target = f"{path}?{rest}" if rest else path
            answer: Response = RedirectResponse(target, 303)
            if headers.get("sec-fetch-site") == "cross-site":
                # After a redirect that another site began, e.g. `redirect_file`, browsers send no strict cookie.
                answer = HTMLResponse(
                    f'<link rel="icon" href="/static/icon.svg">Open {escape(target)}',
                    headers={"Refresh": f"0; url={target}"},
                )
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return answer
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        kept = cookies.get(self._cookie)
        if kept is None or not self._is_token(kept.value):
            return PlainTextResponse("Open the address that `fdrd view` printed.", 403)
        return None

    def _is_known(self, host: str) -> bool:
        if host in self._hosts:
            return True
        if not self._addresses:
            return False
        name, _, _ = host.rpartition(":")
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token.encode())
