"""A local Overpass interpreter that behaves as documented, and misbehaves on request: busy, out of time, cut, slow."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUSY_PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><html><head><title>OSM3S Response</title></head><body>'
    '<p><strong style="color:#FF0000">Error</strong>: runtime error: open64: 0 Success /osm3s_osm_base '
    "Dispatcher_Client::request_read_and_idx::timeout. The server is probably too busy to handle your request. </p>"
    "</body></html>"
)
OUT_OF_TIME = 'runtime error: Query timed out in "query" at line 1 after 61 seconds.'

Place = tuple[float, float]


@dataclass(frozen=True)
class Trouble:
    """What happens to one request instead of its answer.

    Attributes:
        status: of the answer.
        body: of the answer; None: its elements, empty, with the remark.
        retry_after: value of that header.
        remark: of the answer.
        cut: send half of the answer, and drop the connection.
        location: of a redirect.
    """

    status: int = 200
    body: str | None = None
    retry_after: str | None = None
    remark: str | None = None
    cut: bool = False
    location: str | None = None


@dataclass
class OverpassServer:
    """A running interpreter.

    Attributes:
        answer: the elements around a place (longitude, latitude).
        url: its address.
        troubles: what happens to the next requests.
        queries: of every request, in order.
        times: when each began, by `time.monotonic`.
        agents: User-Agent of each.
    """

    answer: Callable[[Place], list[dict[str, Any]]]
    url: str = ""
    troubles: list[Trouble] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)

    @property
    def places(self) -> list[Place]:
        """The places that were asked for, in order."""
        return [place_of_query(query) for query in self.queries]


def place_of_query(query: str) -> Place:
    """Longitude and latitude of the statement is_in of a query."""
    match = re.search(r"is_in\(([-\d.e]+),([-\d.e]+)\)", query)
    assert match is not None, query
    return float(match[2]), float(match[1])


@contextmanager
def serve_overpass(answer: Callable[[Place], list[dict[str, Any]]]) -> Iterator[OverpassServer]:
    """Serves an interpreter on 127.0.0.1 while the context lasts."""
    server = OverpassServer(answer)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/api/interpreter"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _handler(server: OverpassServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.times.append(time.monotonic())
            server.agents.append(self.headers.get("User-Agent", ""))
            form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            server.queries.append(form["data"][0])
            trouble = server.troubles.pop(0) if server.troubles else Trouble()
            body = trouble.body
            if body is None:
                elements = [] if trouble.remark else server.answer(place_of_query(form["data"][0]))
                record = {"version": 0.6, "generator": "Overpass API", "elements": elements}
                body = json.dumps(record | ({"remark": trouble.remark} if trouble.remark else {}))
            content = body.encode()
            self.send_response(trouble.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if trouble.retry_after is not None:
                self.send_header("Retry-After", trouble.retry_after)
            if trouble.location is not None:
                self.send_header("Location", trouble.location)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content[: len(content) // 2] if trouble.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
