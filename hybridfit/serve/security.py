"""Who may ask, and what a browser is told about answers.

A page of another site may make a browser send requests to this machine, or have its own name resolve to it.
So a request has to name this host (DNS rebinding), whatever changes something has to carry a header that no
form can send and an origin that is ours (cross-site requests), and with a token every request has to show it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from hybridfit.serve.settings import LOCAL, ServeSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE = ("GET", "HEAD")
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
# of files that were made from what a stranger may have sent: nothing in them runs
SEALED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"


class Guard:
    """Refuses requests that may not be, bounds what comes in, and adds headers to what goes out."""

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings
        self.hosts = {*LOCAL, f"[{LOCAL[2]}]", settings.host.lower()}
        self.cookie = f"hybridfit-{settings.port}"  # browsers give cookies to all ports of a host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                extra = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in known]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = self.refusal(scope, headers)
        if refused is not None:
            await refused(scope, receive, with_headers)
            return
        await self._bounded(scope, headers, receive, with_headers)

    def refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """The answer to a request that may not be; None for one that may."""
        if not self._ours(headers.get("host", "")):
            return error(
                421, f"the host {headers.get('host', '')[:80]!r} is not this server; open http://localhost:"
                f"{self.settings.port}/, or start it with --host"
            )  # fmt: skip
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=50) if (
            len(scope.get("query_string", b"")) < 8000
        ) else {}  # fmt: skip
        token = self.settings.token
        if token is not None:
            given = (query.get("token") or [""])[0]
            if scope["path"] == "/" and scope["method"] in SAFE and given:
                if not _same(given, token):
                    return error(
                        401, "this token is not that of the server; copy the address that it printed"
                    )
                answer = RedirectResponse("/", status_code=303)
                answer.set_cookie(self.cookie, token, httponly=True, samesite="strict", path="/")
                return answer
            if not _shown(headers, token, self.cookie):
                return error(
                    401, "a token is needed: open the address that the server printed, or send the header "
                    "Authorization: Bearer TOKEN"
                )  # fmt: skip
        if scope["method"] not in SAFE:
            if headers.get("x-hybridfit") != "1":
                return error(
                    403, "the header X-Hybridfit: 1 is missing; requests that change something need it"
                )
            origin = headers.get("origin")
            if origin is not None and not self._own_origin(origin, headers.get("host", "")):
                return error(403, f"requests from {origin[:80]!r} are refused; use the page of this server")
        if headers.get("sec-fetch-site") == "cross-site" and scope["path"] != "/":
            return error(403, "requests from another site are refused; use the page of this server")
        return None

    def _ours(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name = _name(host)
        if name in self.hosts:
            return True
        if self.settings.host not in ("0.0.0.0", "::") or name is None:
            return False
        try:  # listening everywhere, with a token: any of its addresses, but no other site's name
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _own_origin(self, origin: str, host: str) -> bool:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    async def _bounded(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        """Pass a request on; its body ends with an error where it is too large or stops coming."""
        limits = self.settings.limits
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        large = kind in ("multipart/form-data", "application/octet-stream")
        most = limits.upload_bytes if large else limits.json_bytes
        told = headers.get("content-length", "0")
        started, refused = False, None
        if told.isdecimal() and int(told) > most:
            await error(413, _too_large(int(told), most))(scope, receive, send)
            return
        seen = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal seen, refused
            if scope["method"] in SAFE or seen < 0:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), limits.silence)
            except TimeoutError:
                refused = _Refused(408, f"nothing came for {limits.silence:g} s; send it again")
                raise refused from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    refused = _Refused(413, _too_large(seen, most))
                    raise refused
                if not message.get("more_body", False):
                    seen = -1
            return message

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if refused is not None and not started:  # whatever was made of the body that ended
                raise refused
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _Refused as problem:
            if not started:
                answer = error(problem.code, problem.words)
                answer.headers["connection"] = "close"
                await answer(scope, receive, send)


class _Refused(Exception):
    """A body that is not taken."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def error(code: int, words: str) -> JSONResponse:
    """An error in one line."""
    return JSONResponse({"error": " ".join(words.split())}, status_code=code)


def _too_large(size: int, most: int) -> str:
    return (
        f"{size / 1e6:.3g} MB or more is too large, {most / 1e6:.3g} MB are allowed; put large files into "
        "a folder and start the server with --folder"
    )


def _name(host: str) -> str | None:
    """The name in a Host header, without its port; None where there is none."""
    host = host.strip().lower()
    if host.startswith("["):
        name, bracket, port = host.partition("]")
        good = bracket and (not port or (port[0] == ":" and port[1:].isdecimal()))
        return f"{name}]" if good else None
    name, colon, port = host.partition(":")
    return name if name and (not colon or port.isdecimal()) else None


def _shown(headers: dict[str, str], token: str, name: str) -> bool:
    """Whether a request shows the token, in its header or as a cookie."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and _same(given.strip(), token):
        return True
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return False
    return cookie is not None and _same(cookie.value, token)


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
