"""A listening study served by a real process, and raters who speak HTTP to it without a browser."""

from __future__ import annotations

import ctypes
import http.client
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from commands import PATIENCE_SECONDS, environment, python

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


@dataclass
class StudyServer:
    """A running `study serve`.

    Attributes:
        process: the server.
        port: where it listens.
        token: what it printed, "" on this machine alone.
    """

    process: subprocess.Popen[str]
    port: int
    token: str

    @property
    def url(self) -> str:
        """Of its first page, by the loopback address."""
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def serving(folder: Path, *words: str, port: int = 0) -> Iterator[StudyServer]:
    """Serves a study until the end of the block, if nobody has ended it before."""
    command = python("retrieval/run.py", "study", "serve", folder, "--port", str(port), *words)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=folder.parent) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()  # what was answered so far
            opened = process.stdout.readline()
            assert opened.startswith("open http://"), opened
            token = process.stdout.readline().split()[1] if "--host" in words else ""
            yield StudyServer(process, urlsplit(opened.split()[1]).port or 0, token)
        finally:
            process.kill()


@dataclass
class Reply:
    """What came back: status, headers in lower case, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8")


@dataclass
class Client:
    """Keeps cookies and sends paths as they are written, `..` and all."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def rater(self) -> str:
        """The id that this client was given."""
        return next(value for name, value in self.cookies.items() if name.startswith("earshot_rater"))

    def get(self, path: str, **headers: str) -> Reply:
        """Asks for a page; redirects are not followed."""
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Reply:
        """Sends a form."""
        return self._send("POST", path, urlencode(fields), headers)

    def _send(self, method: str, path: str, body: str | None, more: dict[str, str]) -> Reply:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if body is not None:
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    cookie, _, content = value.partition(";")[0].partition("=")
                    self.cookies[cookie] = content
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def answer_all(self, answers: dict[str, str]) -> None:
        """Goes through the study from wherever it stands, as a browser without JavaScript does."""
        self.post("/begin", {})
        while (reply := self.get("/thanks")).status == 303:
            fields = form_fields(self.get(reply.headers["location"]).text)
            reply = self.post("/answers", fields | {"answer": answers[fields["pair"]]})
            assert (reply.status, reply.headers["location"]) == (303, "/thanks")


def form_fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


def obey_permissions() -> None:
    """To be called between fork and exec: the program may not write where it must not, not even as root."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be written until the end of the block, by those who obey permissions."""
    every = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in every]
    for path, mode in zip(every, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(every, modes, strict=True):
            path.chmod(mode)
