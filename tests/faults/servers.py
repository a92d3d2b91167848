"""Serves pages to good visitors, bad ones and slow ones at once: how long the good wait, and what the bad are told."""

from __future__ import annotations

import json
import random
import re
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from commands import environment, python
from listening_shards import write_listening_shards, write_tiny_towers
from study_serving import form_fields

PATIENCE_SECONDS = 120.0
VISITORS = 8
"""Who send requests at the same time."""
SHARE_OF_BAD = 0.5

JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Site:
    """Pages that are served.

    Attributes:
        port: on 127.0.0.1.
        log: what the server prints.
        post: a path that takes what a visitor sends.
        good: a visit of a good visitor: requests that each must succeed, in order; gives their durations in seconds.
    """

    port: int
    log: Path
    post: str
    good: Callable[[Site, random.Random], list[float]]


@dataclass
class Served:
    """What became of the requests.

    Attributes:
        good_seconds: how long each good request took.
        bad: how many bad ones were answered by each status, 0 where the connection was closed.
        failures: what went wrong.
    """

    good_seconds: list[float] = field(default_factory=list)
    bad: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


# Requests as they are sent


def exchange(port: int, request: bytes) -> bytes:
    """What is answered to a request; empty where the server hangs up without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
            connection.sendall(request)
        answer = b""
        with suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
        return answer


def request_of(port: int, method: str, path: str, body: bytes = b"", *headers: str, host: str = "") -> bytes:
    """A request after which the connection is closed."""
    own = [f"Host: {host or f'127.0.0.1:{port}'}", "Connection: close", *headers]
    if body:
        own.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *own, "", ""]).encode() + body


def status_of(answer: bytes) -> int:
    """The status of an answer, 0 if there is none."""
    match = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return int(match[1]) if match else 0


BAD: dict[str, Callable[[Site, random.Random], bytes]] = {
    "foreign host": lambda site, _: request_of(site.port, "GET", "/", host="rebound.example"),
    "foreign origin": lambda site, _: request_of(
        site.port, "POST", site.post, b"{}", JSON, "Origin: http://elsewhere.example"
    ),
    "deep body": lambda site, chance: request_of(
        site.port, "POST", site.post, b"[" * chance.choice((100, 100_000)), JSON
    ),
    "large body": lambda site, chance: request_of(
        site.port, "POST", site.post, b"a" * chance.choice((1_100_000, 5_000_000)), JSON
    ),
    "no json": lambda site, chance: request_of(site.port, "POST", site.post, chance.randbytes(200), JSON),
    "no http": lambda site, chance: chance.randbytes(chance.randrange(1, 2000)) + b"\r\n\r\n",
    "other file": lambda site, _: request_of(site.port, "GET", "/media/..%2f..%2f..%2fetc%2fhostname"),
    "no such page": lambda site, chance: request_of(site.port, "GET", f"/{chance.randbytes(9).hex()}"),
    "no such method": lambda site, _: request_of(site.port, "DELETE", "/pairs/1"),
    "long header": lambda site, _: request_of(site.port, "GET", "/", b"", "X-Long: " + "a" * 200_000),
    "cut off": lambda site, _: request_of(site.port, "POST", site.post, b"{}", JSON, "Content-Length: 90")[:-1],
    "wrong length": lambda site, _: request_of(site.port, "POST", site.post, b"", JSON, "Content-Length: -3"),
}
"""Requests that must be refused, whichever pages are served."""


# Good visitors


def _timed(site: Site, request: bytes, expected: int) -> tuple[float, bytes]:
    started = time.monotonic()
    answer = exchange(site.port, request)
    assert status_of(answer) == expected, (request[:80], answer[:200])
    return time.monotonic() - started, answer


def _visit_explorer(site: Site, chance: random.Random) -> list[float]:
    first, page = _timed(site, request_of(site.port, "GET", "/"), 200)
    found = re.findall(rb'(?:src|href)="\.?(/assets/[^"]+)"', page)
    asset = chance.choice(found).decode() if found else "/config"
    second, _ = _timed(site, request_of(site.port, "GET", asset), 200)
    third, config = _timed(site, request_of(site.port, "GET", "/config"), 200)
    functions = json.loads(config.partition(b"\r\n\r\n")[2])["dependencies"]
    number = next(entry["id"] for entry in functions if entry["api_name"] == "of_key")
    body = {
        "data": [str(2000 + chance.randrange(24)), "image", None, [], []],
        "fn_index": number,
        "session_hash": secrets.token_hex(5),
    }
    fourth, _ = _timed(
        site, request_of(site.port, "POST", "/gradio_api/queue/join", json.dumps(body).encode(), JSON), 200
    )
    return [first, second, third, fourth]


def _visit_study(site: Site, chance: random.Random) -> list[float]:
    first, _ = _timed(site, request_of(site.port, "GET", "/"), 200)
    second, begun = _timed(site, request_of(site.port, "POST", "/begin", b"a=b", FORM), 303)
    cookie = "Cookie: " + re.search(rb"set-cookie: ([^;]+)", begun, re.IGNORECASE)[1].decode()  # type: ignore[index]
    third, page = _timed(site, request_of(site.port, "GET", "/pairs/1", b"", cookie), 200)
    answer = form_fields(page.decode()) | {"answer": chance.choice(("yes", "no"))}
    body = "&".join(f"{name}={value}" for name, value in answer.items()).encode()
    fourth, _ = _timed(site, request_of(site.port, "POST", "/answers", body, FORM, cookie), 303)
    return [first, second, third, fourth]


# Servers


@contextmanager
def serving_explorer(folder: Path) -> Iterator[Site]:
    """The explorer over 24 pairs."""
    write_listening_shards(folder / "set", {"test": 24})
    write_tiny_towers(folder / "model")
    words = ("--weights", folder / "model", "--shards", folder / "set", "--cache", folder / "cache", "--layout", "tsne")
    with _serving(python("retrieval/run.py", "explore", *words, "--port", "0"), folder / "log") as port:
        yield Site(port, folder / "log", "/gradio_api/queue/join", _visit_explorer)


@contextmanager
def serving_study(folder: Path) -> Iterator[Site]:
    """A study of 12 pairs."""
    write_listening_shards(folder / "set", {"test": 24})
    write_tiny_towers(folder / "model")
    words = ("--weights", folder / "model", "--shards", folder / "set", "--out", folder / "study", "--pairs", 12)
    prepare = python("retrieval/run.py", "study", "prepare", *words, "--crops", 1)
    subprocess.run(prepare, env=environment(), check=True, capture_output=True)
    with _serving(
        python("retrieval/run.py", "study", "serve", folder / "study", "--port", "0"), folder / "log"
    ) as port:
        yield Site(port, folder / "log", "/answers", _visit_study)


SITES = {"explore": serving_explorer, "study serve": serving_study}


@contextmanager
def _serving(words: list[str], log: Path) -> Iterator[int]:
    with log.open("wb") as file:
        process = subprocess.Popen(words, env=environment(PYTHONUNBUFFERED="1"), stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield int(found[1])
    finally:
        process.kill()
        process.wait()


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Clients that send a byte of their request every second and never come to its end."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for number, client in enumerate(clients):
        head = f"POST /begin HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 1000\r\n"
        client.sendall((head + "\r\n" if number % 2 else head).encode())
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(1.0):
            for client in clients:
                with suppress(OSError):
                    client.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield clients
    finally:
        ended.set()
        thread.join()
        for client in clients:
            client.close()


def visit(site: Site, requests: int, slow: int, seed: int) -> Served:
    """Sends requests, good and bad in a random order, from several visitors at once, beside slow clients."""
    served, lock = Served(), threading.Lock()

    def one(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        try:
            if chance.random() < SHARE_OF_BAD:
                name = chance.choice(sorted(BAD))
                status = status_of(exchange(site.port, BAD[name](site, chance)))
                with lock:
                    served.bad[name, status] += 1
                    # 303 leads those to the first page who have no cookie of a rater.
                    if status not in (0, *range(400, 500)) and not (status == 303 and "foreign" not in name):
                        served.failures.append(f"{name} was answered with {status}")
            else:
                seconds = site.good(site, chance)
                with lock:
                    served.good_seconds += seconds
        except (AssertionError, OSError, ValueError, TypeError) as error:
            with lock:
                served.failures.append(f"request {number}: {error!r}"[:300])

    with slow_clients(site.port, slow), ThreadPoolExecutor(VISITORS) as pool:
        list(pool.map(one, range(requests)))
    if "Traceback" in site.log.read_text():
        served.failures.append(f"the server printed: {site.log.read_text()[-500:]}")
    return served


def try_site(name: str, requests: int, slow: int, seed: int) -> Served:
    """Serves and visits a site."""
    with tempfile.TemporaryDirectory(prefix="served-") as folder, SITES[name](Path(folder)) as site:
        return visit(site, requests, slow, seed)
