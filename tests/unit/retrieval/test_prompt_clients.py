"""Clients that are slow to send a request are let go; the others are not."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from retrieval import prompt_clients
from retrieval.local_server import listen
from retrieval.prompt_clients import PromptClients

LIMIT_SECONDS = 0.5
PATIENCE_SECONDS = 30.0


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def think(request: Request) -> Response:
    await asyncio.sleep(3 * LIMIT_SECONDS)
    return PlainTextResponse("thought")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server with a short limit."""
    monkeypatch.setattr(prompt_clients, "REQUEST_SECONDS", LIMIT_SECONDS)
    app = Starlette(routes=[Route("/", count, methods=["GET", "POST"]), Route("/think", think)])
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", http=PromptClients))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ", b"a"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nX-A: ", b"a"),
    ],
    ids=["nothing", "part of a line", "endless headers", "slow body", "slow second request"],
)
def test_slow_clients_are_let_go(port: int, begun: bytes, more: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as client:
        client.sendall(begun)
        stop = threading.Event()

        def trickle() -> None:
            try:
                while more and not stop.wait(0.05):
                    client.sendall(more)
            except OSError:
                pass  # it was let go

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            while client.recv(1000):
                pass  # of the first request's answer
        except ConnectionResetError:
            pass
        finally:
            stop.set()
            sender.join()


def test_others_are_not(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    client.request("POST", "/", body=b"x" * 100_000)
    first = client.getresponse()
    assert (first.status, first.read()) == (200, b"100000")
    time.sleep(2 * LIMIT_SECONDS)
    client.request("GET", "/think")  # on the same connection; the answer takes longer than the limit
    assert client.getresponse().read() == b"thought"
