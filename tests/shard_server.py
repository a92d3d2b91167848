"""A web server for a folder of shards that misbehaves on request: error statuses, cut connections, wrong bytes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        status: answer with this status instead of the file.
        cut_after: promise all bytes, send so many and drop the connection.
        truncate_to: promise and send so many bytes only, as if that were all of the file.
        corrupt: send other bytes of the same number.
        redirect_to: answer with a redirect to this address.
        seconds_a_byte: wait so long before each byte.
        bytes_at_once: how many bytes of these are sent together.
    """

    status: int | None = None
    cut_after: int | None = None
    truncate_to: int | None = None
    corrupt: bool = False
    redirect_to: str | None = None
    seconds_a_byte: float = 0.0
    bytes_at_once: int = 1


@dataclass
class ShardServer:
    """A running server.

    Attributes:
        url: its address.
        faults: by file name, what happens to its next requests; after them all goes well.
        always: by file name, what happens to all of its requests.
        requests: (file name, first byte asked for) of every request, in order.
        serves_ranges: whether it understands Range.
    """

    url: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)
    serves_ranges: bool = True

    def asked_for(self, name: str) -> list[int]:
        """First bytes of the requests for one file."""
        return [start for asked, start in self.requests if asked == name]


@contextmanager
def serve(folder: Path) -> Iterator[ShardServer]:
    """Serves `folder` on 127.0.0.1 at /set/ while the context lasts."""
    server = ShardServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.split("?")[0].removeprefix("/set/")
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            server.requests.append((name, start))
            queue = server.faults.get(name)
            fault = queue.pop(0) if queue else server.always.get(name, Fault())
            path = folder / name
            if fault.status or not path.is_file():
                self.send_error(fault.status or 404)
                return
            if fault.redirect_to:
                self.send_response(302)
                self.send_header("Location", fault.redirect_to)
                self.end_headers()
                return
            data = path.read_bytes()[: fault.truncate_to]
            if fault.corrupt:
                data = bytes(len(data))
            if start and start >= len(data):
                self.send_error(416)
                return
            partial = start > 0 and server.serves_ranges
            body = data[start:] if partial else data
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not fault.seconds_a_byte:
                self.wfile.write(body[: fault.cut_after])
                return
            with suppress(OSError):  # the client gave up
                for first in range(0, len(body), fault.bytes_at_once):
                    time.sleep(fault.seconds_a_byte * fault.bytes_at_once)
                    self.wfile.write(body[first : first + fault.bytes_at_once])

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/set"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
