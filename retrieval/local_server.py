"""Serves pages from this machine, by default only to itself, with the same headers on every response."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.prompt_clients import PromptClients
from shards.errors import UserError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost", "[::1]", "::1")
CLOSING_SECONDS = 3
_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses reserved for documentation; looking up the route to them sends nothing."""


class FixedHeaders:
    """Adds the same headers to every response.

    Args:
        app: the wrapped application.
        headers: name → value.
        defaults: headers that are added only if the response does not set them.
    """

    def __init__(self, app: ASGIApp, headers: dict[str, str], defaults: dict[str, str] | None = None) -> None:
        self._app, self._headers, self._defaults = app, headers, defaults or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                for name, value in self._defaults.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def listen(host: str, port: int) -> socket.socket:
    """Opens a socket that listens on an address of this machine.

    Args:
        host: host name or address.
        port: 0 selects a free one.

    Raises:
        UserError: the host is unknown, or the port is in use.
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
        raise UserError(f"can't listen on {host}:{port}: {error.strerror}; choose another --port or --host") from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether the socket is reachable only from this machine."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def shown_address(listener: socket.socket) -> str:
    """The URL to open; if the socket listens on all addresses, the one by which other machines reach it."""
    address, port = listener.getsockname()[:2]
    shown = ipaddress.ip_address(address)
    if shown.is_unspecified:
        family = socket.AF_INET6 if shown.version == 6 else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_OUTSIDE[family], 9))
            shown = ipaddress.ip_address(probe.getsockname()[0])
    return f"http://[{shown}]:{port}/" if shown.version == 6 else f"http://{shown}:{port}/"


def serve_pages(app: ASGIApp, listener: socket.socket, host: str) -> None:
    """Serves until stopped by Ctrl-C or SIGTERM; clients that are slow to send a request are let go.

    Against DNS rebinding, where a foreign page makes its own host name resolve to 127.0.0.1, requests must name this
    machine in their Host header if only this machine is served.

    Args:
        app: the application.
        listener: socket from `listen`.
        host: the host passed to `listen`.
    """
    if is_loopback(listener):
        names = [*LOOPBACK_NAMES, host, listener.getsockname()[0]]
        app = TrustedHostMiddleware(app, allowed_hosts=names, www_redirect=False)
    # Open pages hold a connection, so the graceful shutdown needs a time limit.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=PromptClients,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])
