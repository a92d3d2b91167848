"""Pages served from this machine: to it alone unless told otherwise, and with the same headers on every answer."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shards.errors import UserError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost", "[::1]", "::1")
CLOSING_SECONDS = 3
_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses kept for documentation: asking for the way there sends nothing."""


class FixedHeaders:
    """Puts the same headers on every answer.

    Args:
        app: what answers.
        headers: name → value.
        defaults: of those that an answer may have for itself.
    """

    def __init__(self, app: ASGIApp, headers: dict[str, str], defaults: dict[str, str] | None = None) -> None:
        self._app, self._headers, self._defaults = app, headers, defaults or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                for name, value in self._defaults.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address of this machine.

    Args:
        host: name or address.
        port: 0 takes one that is free.

    Raises:
        UserError: no such host, or its port is taken.
    """
    if not 0 <= port <= 65_535:
        raise UserError(f"port must be from 0 to 65535, got {port}")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"unknown host {host!r} ({error.strerror}); give an address of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"{host}:{port} can't be listened on: {error.strerror}; choose another --port or --host"
        ) from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether no other machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def shown_address(listener: socket.socket) -> str:
    """What to open; where it listens on all addresses of this machine, the one that others reach it by."""
    address, port = listener.getsockname()[:2]
    shown = ipaddress.ip_address(address)
    if shown.is_unspecified:
        family = socket.AF_INET6 if shown.version == 6 else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_OUTSIDE[family], 9))
            shown = ipaddress.ip_address(probe.getsockname()[0])
    return f"http://[{shown}]:{port}/" if shown.version == 6 else f"http://{shown}:{port}/"


def serve_pages(app: ASGIApp, listener: socket.socket, host: str) -> None:
    """Serves until it is stopped by Ctrl-C or SIGTERM.

    A page of a stranger's can have its own name lead to 127.0.0.1 and then read what is served there (DNS rebinding);
    its requests still name the stranger's host, and only this machine's names are answered where it alone is served.

    Args:
        app: what answers.
        listener: as `listen` gives it.
        host: that it was asked to listen on.
    """
    if is_loopback(listener):
        names = [*LOOPBACK_NAMES, host, listener.getsockname()[0]]
        app = TrustedHostMiddleware(app, allowed_hosts=names, www_redirect=False)
    # A page that is open holds a connection for as long as it is.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])
