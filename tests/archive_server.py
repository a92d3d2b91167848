"""A stand-in for the Internet Archive as its interfaces are documented: search by cursor, records, downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

CHUNK_BYTES = 4096


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        status: answer with this status and a short page.
        headers: of that answer, such as Retry-After or Location.
        cut_after: promise all bytes, send this many and drop the connection.
        corrupt: send other bytes of the same number.
        body: send this instead, with status 200.
        seconds_a_chunk: wait before every 4 KB.
        ignores_range: send the whole file whatever is asked for.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    corrupt: bool = False
    body: bytes | None = None
    seconds_a_chunk: float = 0.0
    ignores_range: bool = False


@dataclass(frozen=True)
class Request:
    """A request as the server saw it.

    Attributes:
        time: when it arrived, monotonic seconds.
        path: without the query.
        query: parsed.
        headers: in lower case.
    """

    time: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def first_byte(self) -> int:
        """The byte from which on a file is asked for."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(match[1]) if match else 0


@dataclass
class ArchiveServer:
    """A running archive.

    Attributes:
        url: its address.
        items: record of each item by identifier, in the order of the list; `add` makes one.
        contents: bytes of each file by (identifier, name).
        page_items: most items of a page.
        faults: by path, what happens to its next requests; after them all goes well.
        always: by path, what happens to all of its requests.
        requests: every request, in order.
        redirects: whether downloads lead to another host, as the archive's do.
    """

    url: str = ""
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    page_items: int = 100
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    redirects: bool = True

    def add(self, identifier: str, sounds: dict[str, bytes], length: str = "30.5", **fields: Any) -> None:
        """Adds an item with files; fields go into its metadata."""
        files: list[dict[str, str]] = [{"name": f"{identifier}_meta.xml", "source": "original", "format": "Metadata"}]
        for name, content in sounds.items():
            self.contents[identifier, name] = content
            files.append(
                {"name": name, "source": "original", "format": "VBR MP3", "length": length, **_digests(content)}
            )
        size = sum(map(len, sounds.values())) + 1000
        metadata = {"identifier": identifier, "publicdate": "2020-06-01 10:00:00", **fields}
        self.items[identifier] = {"files": files, "metadata": metadata, "item_size": size, "server": "ia0.example"}

    def replace(self, identifier: str, name: str, content: bytes) -> None:
        """Replaces a file, as an uploader does, and what the record says of it."""
        self.contents[identifier, name] = content
        entry = next(file for file in self.items[identifier]["files"] if file["name"] == name)
        entry.update(_digests(content))

    def paths(self, start: str = "") -> list[str]:
        """Paths of the requests that begin so."""
        return [request.path for request in self.requests if request.path.startswith(start)]

    def slowest_rate(self) -> float:
        """Requests per second, from the first to the last."""
        times = [request.time for request in self.requests]
        return (len(times) - 1) / max(1e-9, times[-1] - times[0])


class QuietServer(ThreadingHTTPServer):
    """A server whose clients may go away at any moment."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints a traceback, unless the client went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves on a free port of 127.0.0.1 while the context lasts; gives the address."""
    http = QuietServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()


@contextmanager
def serve_archive() -> Iterator[ArchiveServer]:
    """Serves an empty archive on 127.0.0.1 while the context lasts."""
    archive = ArchiveServer()
    with served(_handler(archive)) as archive.url:
        yield archive


def _handler(archive: ArchiveServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = unquote(parts.path)
            self.asked = Request(time.monotonic(), path, query, headers)
            archive.requests.append(self.asked)
            queue = archive.faults.get(path)
            self.fault = queue.pop(0) if queue else archive.always.get(path, Fault())
            if self.fault.status is not None:
                self._send(b"<html>not now</html>", self.fault.status, self.fault.headers)
            elif self.fault.body is not None:
                self._send(self.fault.body, 200, {})
            else:
                self._answer(path, query)

        def _answer(self, path: str, query: dict[str, str]) -> None:
            if path == "/services/search/v1/scrape":
                self._scrape(query)
            elif path.startswith("/metadata/"):
                self._send_json(archive.items.get(path.removeprefix("/metadata/"), {}))
            elif path.startswith("/download/") and archive.redirects:
                port = self.server.server_address[1]
                self._send(
                    b"",
                    302,
                    {"Location": f"http://localhost:{port}{quote(path.replace('/download/', '/0/items/', 1))}"},
                )
            elif path.startswith(("/download/", "/0/items/")):
                identifier, _, name = path.partition("/download/" if archive.redirects is False else "/0/items/")[
                    2
                ].partition("/")
                self._send_file(archive.contents.get((identifier, name)))
            else:
                self._send(b"no such place", 404, {})

        def _scrape(self, query: dict[str, str]) -> None:
            count = int(query.get("count", "5000"))
            match = re.fullmatch(r"collection:[\w.-]+(?: AND publicdate:\[(\S+) TO \S+\])?", query.get("q", ""))
            if match is None or count < 100:
                self._send_json({"error": "bad query or count", "errorType": "RangeException"}, 400)
                return
            found = [i for i, item in archive.items.items() if item["metadata"]["publicdate"] >= (match[1] or "")]
            try:
                start = int(base64.b64decode(query.get("cursor", "MA==")).decode())
            except ValueError:
                self._send_json({"error": "invalid cursor", "errorType": "IllegalArgumentException"}, 400)
                return
            wanted = query["fields"].split(",")
            page = found[start : start + min(count, archive.page_items)]
            items = [
                {
                    name: value
                    for name, value in ({**archive.items[i]["metadata"], **archive.items[i]}).items()
                    if name in wanted
                }
                for i in page
            ]
            answer: dict[str, Any] = {"items": items, "count": len(items), "total": len(found)}
            if start + len(page) < len(found):
                answer["cursor"] = base64.b64encode(str(start + len(page)).encode()).decode()
            self._send_json(answer)

        def _send_file(self, content: bytes | None) -> None:
            if content is None:
                self._send(b"not found", 404, {})
                return
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            data = bytes(len(content)) if self.fault.corrupt else content
            start = self.asked.first_byte
            if self.asked.headers.get("if-range") not in (None, etag) or self.fault.ignores_range:
                start = 0
            if start and start >= len(data):
                self._send(b"", 416, {"Content-Range": f"bytes */{len(data)}"})
                return
            headers = {"ETag": etag, "Accept-Ranges": "bytes"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(data[start:], 206 if start else 200, headers)

        def _send_json(self, value: Any, status: int = 200) -> None:
            self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

        def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):  # the client was ended
                for first in range(0, len(data[: self.fault.cut_after]), CHUNK_BYTES):
                    time.sleep(self.fault.seconds_a_chunk)
                    self.wfile.write(data[: self.fault.cut_after][first : first + CHUNK_BYTES])
                    self.wfile.flush()
            if self.fault.cut_after is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _digests(content: bytes) -> dict[str, str]:
    return {
        "size": str(len(content)),
        "md5": hashlib.md5(content).hexdigest(),
        "sha1": hashlib.sha1(content).hexdigest(),
    }
