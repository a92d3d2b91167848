"""Lets go of clients that take too long to send a request, so that they can't hold connections for ever."""

from __future__ import annotations

import asyncio

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 120.0
"""For the whole of a request; an upload of 50 MB takes so long at 3.5 Mbit/s."""


class PromptClients(H11Protocol):
    """HTTP/1.1 of uvicorn, with a time limit from a request's first byte to its last."""

    _deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Waits for the first request."""
        super().connection_made(transport)
        self._start()

    @override
    def data_received(self, data: bytes) -> None:
        """Handles a part of a request."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._start()
        else:
            self._stop()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the client."""
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
