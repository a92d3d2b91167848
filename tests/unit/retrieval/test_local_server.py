"""The headers on answers: the fixed ones on all, failures included, and those that an answer may have for itself."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from retrieval.local_server import FixedHeaders


def plain(request: Request) -> Response:
    return PlainTextResponse("", headers={"x-fixed": "its own", "x-default": "its own"})


def failing(request: Request) -> Response:
    raise RuntimeError("unforeseen")


def test_headers_are_on_every_answer() -> None:
    app = Starlette(routes=[Route("/", plain), Route("/failing", failing)])
    client = TestClient(FixedHeaders(app, {"x-fixed": "ours"}, {"x-default": "ours"}), raise_server_exceptions=False)
    found = {
        path: (reply.status_code, reply.headers["x-fixed"], reply.headers["x-default"])
        for path in ("/", "/failing", "/missing")
        for reply in [client.get(path)]
    }
    assert found == {
        "/": (200, "ours", "its own"),
        "/failing": (500, "ours", "ours"),
        "/missing": (404, "ours", "ours"),
    }
