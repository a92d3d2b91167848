"""Who may see a study's pages: the token, and what wrong ones bring."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_SYMBOLS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without those that are mistaken for one another when they are read aloud or typed on a phone."""
TOKEN_GROUPS, GROUP_LENGTH = 3, 4
MOST_FAILURES = 10
FAILURES_SECONDS = 600.0
MOST_ADDRESSES = 10_000


def make_token() -> str:
    """A new token, such as "k7mp-2xqh-9rtw": 59 random bits."""
    groups = ("".join(secrets.choice(TOKEN_SYMBOLS) for _ in range(GROUP_LENGTH)) for _ in range(TOKEN_GROUPS))
    return "-".join(groups)


class Door:
    """Lets in who has the token, and from then on who has the cookie for it.

    Args:
        token: holds for as long as this door does, for any number of raters.
        version: of the study behind it. Browsers send a host's cookies to all of its ports, where other studies may be.
        clock: seconds that pass.
    """

    def __init__(self, token: str, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.cookie_name = f"earshot_access_{version}"
        self._token = _plain(token)
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self.cookie = hmac.new(self._token, b"earshot listening study", hashlib.sha256).hexdigest()

    def admits(self, cookie: str | None) -> bool:
        """Whether the cookie was given for this token."""
        return hmac.compare_digest((cookie or "").encode(), self.cookie.encode())

    def is_shut_for(self, address: str) -> bool:
        """Whether too many wrong tokens came from an address in the last ten minutes; the right one opens even so."""
        times = self._failures.get(address, deque())
        while times and self._clock() - times[0] > FAILURES_SECONDS:
            times.popleft()
        return len(times) >= MOST_FAILURES

    def opens(self, token: str, address: str) -> bool:
        """Whether the token is right; capitals, spaces and dashes make no difference. A wrong one is counted."""
        if hmac.compare_digest(_plain(token), self._token):
            self._failures.pop(address, None)
            return True
        if len(self._failures) >= MOST_ADDRESSES:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self._clock())
        return False


class Guard:
    """Stands before all pages and asks for the token where there is a door.

    Args:
        app: the pages.
        door: None lets everybody in.
        open_paths: what is shown to those outside.
        ask: makes the page that asks for the token.
    """

    def __init__(
        self, app: ASGIApp, door: Door | None, open_paths: frozenset[str], ask: Callable[[Request], Response]
    ) -> None:
        self._app, self._door, self._open_paths, self._ask = app, door, open_paths, ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        request = Request(scope)
        is_open = self._door is None or scope["path"] in self._open_paths
        if is_open or (self._door and self._door.admits(request.cookies.get(self._door.cookie_name))):
            await self._app(scope, receive, send)
        else:
            await self._ask(request)(scope, receive, send)


def comes_from_elsewhere(request: Request) -> bool:
    """Whether a form was sent from a page of another origin; a client that names none is no browser."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _plain(token: str) -> bytes:
    return "".join(token.split()).replace("-", "").casefold().encode()
