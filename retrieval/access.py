"""Access to pages that are served: token, cookie, rate limit, and the origin of requests."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_SYMBOLS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without symbols that are easily confused when read aloud or typed on a phone."""
TOKEN_GROUPS, GROUP_LENGTH = 3, 4
MOST_FAILURES = 10
FAILURES_SECONDS = 600.0
MOST_ADDRESSES = 10_000
PAUSE_SECONDS = 1.0
"""Delay after a wrong token."""
COOKIE_SECONDS = 30 * 24 * 3600
MOST_FORM_BYTES = 4096
"""Limit on forms; a token and the answers of a study take a few hundred bytes."""


def make_token() -> str:
    """A new token, such as "k7mp-2xqh-9rtw": 59 random bits."""
    groups = ("".join(secrets.choice(TOKEN_SYMBOLS) for _ in range(GROUP_LENGTH)) for _ in range(TOKEN_GROUPS))
    return "-".join(groups)


class Door:
    """Grants access by token, and afterwards by cookie.

    Args:
        token: valid as long as this object exists, for any number of visitors.
        version: what is served; part of the cookie's name, because browsers send a host's cookies to all of its ports,
            where other pages may be served.
        clock: returns a time in seconds.
    """

    def __init__(self, token: str, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.cookie_name = f"earshot_access_{version}"
        self._token = _plain(token)
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self.cookie = hmac.new(self._token, b"earshot pages", hashlib.sha256).hexdigest()

    def admits(self, cookie: str | None) -> bool:
        """Whether the cookie was issued for this token."""
        return hmac.compare_digest((cookie or "").encode(), self.cookie.encode())

    def is_shut_for(self, address: str) -> bool:
        """Whether an address sent too many wrong tokens in the last ten minutes; the right one is still accepted."""
        times = self._failures.get(address, deque())
        while times and self._clock() - times[0] > FAILURES_SECONDS:
            times.popleft()
        return len(times) >= MOST_FAILURES

    def opens(self, token: str, address: str) -> bool:
        """Whether the token is right, ignoring case, spaces and dashes. Wrong ones are counted."""
        if hmac.compare_digest(_plain(token), self._token):
            self._failures.pop(address, None)
            return True
        if len(self._failures) >= MOST_ADDRESSES:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self._clock())
        return False


class Guard:
    """Requires the token for all requests, if there is one.

    Args:
        app: the pages.
        door: checks the token; None grants access to everyone.
        open_paths: paths accessible without the token.
        ask: returns the page that asks for the token.
    """

    def __init__(
        self, app: ASGIApp, door: Door | None, open_paths: frozenset[str], ask: Callable[[Request], Response]
    ) -> None:
        self._app, self._door, self._open_paths, self._ask = app, door, open_paths, ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        request = Request(scope)
        is_open = self._door is None or scope["path"] in self._open_paths
        if is_open or (self._door and self._door.admits(request.cookies.get(self._door.cookie_name))):
            await self._app(scope, receive, send)
        else:
            await self._ask(request)(scope, receive, send)


async def enter(request: Request, door: Door, page: Callable[[HTTPStatus, str], Response]) -> Response:
    """Checks the token of a form; the response to a wrong one is delayed, without blocking others at the same address.

    Args:
        request: the form, whose field is `token`.
        door: checks the token.
        page: returns the page that asks for the token, from status and complaint.
    """
    address = request.client.host if request.client else ""
    token, is_shut = (await bounded_form(request)).get("token", ""), door.is_shut_for(address)
    if not door.opens(token, address):
        await asyncio.sleep(PAUSE_SECONDS)
        if is_shut:
            return page(HTTPStatus.TOO_MANY_REQUESTS, "This token is wrong too. Ask the person who runs this page.")
        return page(HTTPStatus.FORBIDDEN, "This token is wrong. Try again.")
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    # "lax", so that links from messages work; all requests that change something check their origin.
    set_cookie(response, door.cookie_name, door.cookie, "lax")
    return response


async def bounded_form(request: Request) -> dict[str, str]:
    """The fields of a form; reading stops if the body is larger than any form.

    Raises:
        HTTPException: it is too large.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return dict(parse_qsl(body.decode("utf-8", errors="replace")))


def set_cookie(response: Response, name: str, value: str, same_site: Literal["strict", "lax"] = "strict") -> None:
    """Sets a cookie that scripts can't read; not "secure", because the pages are served over plain HTTP."""
    response.set_cookie(name, value, max_age=COOKIE_SECONDS, httponly=True, samesite=same_site)


def comes_from_elsewhere(request: Request) -> bool:
    """Whether a form was sent from a page of another origin; clients without an Origin header are not browsers."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _plain(token: str) -> bytes:
    return "".join(token.split()).replace("-", "").casefold().encode()
