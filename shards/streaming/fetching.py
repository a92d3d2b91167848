"""Fetches files of a shard set from its location: a folder, HTTP, an object store or a command."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import random
import shlex
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit, urlunsplit

from shards.checksums import FileChecksum, file_checksum
from shards.errors import UserError
from shards.records import MOST_BYTES, shortened
from shards.streaming.locations import local_folder

PIPE_NAME = "{name}"
"""Placeholder for the file name in a `pipe:` location."""

HTTP_SCHEMES = ("http", "https")
COMMAND_SCHEMES = ("s3", "gs", "htgs", "hf", "ais", "sftp", "ftps", "scp")
_TRANSIENT_STATUS = (408, 425, 429)
_GOOD_ENDS = (0, -signal.SIGPIPE, 128 + signal.SIGPIPE)
_CHUNK_BYTES = 1 << 20
_SILENCE_SECONDS = 60.0
_LEAST_BYTES = 60_000
"""In that time; a server that sends less is as good as silent."""


@dataclass(frozen=True)
class RetryRule:
    """Retries of a failed download, with exponential backoff.

    Attributes:
        attempts: consecutive attempts without progress after which the file counts as unreadable.
        first_seconds: maximum wait before the second attempt; doubles with every further one.
        most_seconds: upper limit on a wait.
    """

    attempts: int = 6
    first_seconds: float = 0.5
    most_seconds: float = 30.0

    def wait(self, failures: int) -> None:
        """Waits after this many consecutive failures, a random time between half the maximum wait and all of it."""
        longest = min(self.most_seconds, self.first_seconds * 2 ** (failures - 1))
        time.sleep(longest * random.SystemRandom().uniform(0.5, 1.0))


class UnfetchableError(OSError):
    """A file could not be fetched, and retrying now will not help."""


class ShardSource:
    """The location from which a shard set is fetched.

    `http(s)` is read directly, so that interrupted downloads resume. Object stores and file servers (s3, gs, htgs, hf,
    ais, sftp, ftps, scp) are read through the command-line client that WebDataset uses for them, started without a
    shell. `pipe:COMMAND` runs a shell command in which `{name}` is replaced by the file name.

    Args:
        location: a folder or a URL.
        allow_pipe: whether a `pipe:` location may run its command.
        retry: how failed downloads are retried.

    Raises:
        UserError: the scheme is not supported, or a `pipe:` location is not allowed or lacks `{name}`.
    """

    def __init__(self, location: str | Path, *, allow_pipe: bool = False, retry: RetryRule = RetryRule()) -> None:
        self.folder = local_folder(location)
        self.location = str(location)
        self.retry = retry
        self._scheme = "" if self.folder else urlsplit(self.location).scheme.lower()
        if self._scheme == "pipe":
            _check_pipe(self.location, allow_pipe)
        elif self._scheme and self._scheme not in (*HTTP_SCHEMES, *COMMAND_SCHEMES):
            known = ", ".join(("file", *HTTP_SCHEMES, *COMMAND_SCHEMES))
            raise UserError(
                f"shards can't be read from {self.location}: the scheme must be one of {known} or pipe, got "
                f"{self._scheme}; fetch them with your own tools and give their folder"
            )

    def address(self, name: str) -> str:
        """The address of a file of the set: a path, a URL, or `pipe:` and a command."""
        if self.folder:
            return str(self.folder / name)
        if self._scheme == "pipe":
            return self.location.replace(PIPE_NAME, shlex.quote(name))
        parts = urlsplit(self.location)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}"))

    def shown(self, name: str) -> str:
        """The address for messages, without passwords and signatures."""
        if self.folder or self._scheme == "pipe":
            return self.address(name)
        parts = urlsplit(self.address(name))
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))

    def read_bytes(self, name: str) -> bytes:
        """Reads a small file of the set.

        Raises:
            UnfetchableError: it can't be fetched, even after retries.
        """
        failures = 0
        while True:
            try:
                with self._open(name, 0) as (stream, _):
                    content = b"".join(arriving(stream, MOST_BYTES + 1))
                    if len(content) > MOST_BYTES:
                        raise UnfetchableError(f"more than {MOST_BYTES:,} bytes")
                    if missing := getattr(stream, "length", None):  # of an answer by HTTP
                        raise OSError(f"the download ended {missing:,} bytes early")
                return content
            except (OSError, http.client.HTTPException) as error:
                failures += 1
                self._wait_or_give_up(error, failures)

    def fetch(self, name: str, path: Path, checksum: FileChecksum) -> None:
        """Downloads a file of the set to `path`; resumes a partial download at `path`.

        Raises:
            UnfetchableError: it can't be fetched, or does not match the checksum in the manifest.
        """
        failures, furthest = 0, 0
        while True:
            problem: Exception
            try:
                self._fetch_rest(name, path, checksum.bytes)
                if _has(path, checksum):
                    return
                path.unlink()
                problem = OSError("size or SHA-256 of the downloaded file differs from the manifest")
            except (OSError, http.client.HTTPException) as error:
                problem = error
                reached = path.stat().st_size if path.exists() else 0
                # An attempt that makes real progress resets the count of failures.
                if reached - furthest > checksum.bytes / 100:
                    failures, furthest = 0, reached
            failures += 1
            self._wait_or_give_up(problem, failures)

    def _fetch_rest(self, name: str, path: Path, num_bytes: int) -> None:
        have = path.stat().st_size if path.exists() else 0
        if have >= num_bytes:
            return
        with self._open(name, have) as (stream, start), path.open("r+b" if start else "wb") as file:
            file.seek(start)
            # One byte too many is enough to know that it is a different file.
            for chunk in arriving(stream, num_bytes + 1 - start):
                file.write(chunk)
            if file.tell() < num_bytes:
                raise OSError(f"the download ended after {file.tell()} of {num_bytes} bytes")
            file.flush()
            os.fsync(file.fileno())

    def _wait_or_give_up(self, error: Exception, failures: int) -> None:
        detail = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnfetchableError):
            raise error
        if isinstance(error, http.client.InvalidURL):
            raise UnfetchableError("not a valid URL") from None  # the original message may contain a password
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"no space left in the shard cache ({detail}); free up space or lower data.cache_gb")
        if failures >= self.retry.attempts:
            raise UnfetchableError(f"{detail}, {failures} times") from error
        self.retry.wait(failures)

    @contextlib.contextmanager
    def _open(self, name: str, start: int) -> Iterator[tuple[IO[bytes], int]]:
        """Opens the file from `start`, or from 0 if that isn't supported; yields the stream and its first offset."""
        if self.folder:
            try:
                file = (self.folder / name).open("rb")
            except FileNotFoundError as error:
                raise UnfetchableError("no such file") from error
            with file:
                file.seek(start)
                yield file, start
        elif self._scheme in HTTP_SCHEMES:
            with open_http(self.address(name), start) as response:
                yield response, start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        else:
            with open_command(self.address(name), self._scheme) as stream:
                yield stream, 0


def arriving(stream: Any, most_bytes: int) -> Iterator[bytes]:
    """Yields what a stream sends, up to this many bytes.

    Raises:
        OSError: less than `_LEAST_BYTES` arrived in `_SILENCE_SECONDS`.
    """
    since, arrived, left = time.monotonic(), 0, most_bytes
    while left and (chunk := stream.read1(min(_CHUNK_BYTES, left))):
        yield chunk
        arrived, left, now = arrived + len(chunk), left - len(chunk), time.monotonic()
        if now - since > _SILENCE_SECONDS:
            if arrived < _LEAST_BYTES:
                raise OSError(f"only {arrived:,} bytes arrived in {now - since:.0f} s")
            since, arrived = now, 0


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https alone; urllib would follow them to ftp too."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request to send next.

        Raises:
            UnfetchableError: it would be of another scheme.
        """
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in HTTP_SCHEMES:
            raise UnfetchableError(f"redirected to {shortened(scheme)}, only http and https are followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_pipe(location: str, allow_pipe: bool) -> None:
    if not allow_pipe:
        raise UserError(
            f"shards {location!r} would run a shell command, which is not allowed by default; "
            "if you trust it, allow it with --data.allow-pipe"
        )
    if PIPE_NAME not in location:
        raise UserError(
            f"shards {location!r} must contain {PIPE_NAME} in place of the file name, as in "
            f"'pipe:ssh host cat /data/shards/{PIPE_NAME}'"
        )


def open_http(url: str, start: int) -> Any:
    """The answer of a web server, from a byte of the file on, or from 0 if its status says that it knows no ranges.

    Raises:
        UnfetchableError: retrying will not help.
        OSError: it may.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        opener = urllib.request.build_opener(_WebOnly)
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_SILENCE_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return open_http(url, 0)
        reason = f"HTTP {error.code} {shortened(str(error.reason))}"
        if 400 <= error.code < 500 and error.code not in _TRANSIENT_STATUS:
            raise UnfetchableError(reason) from error
        raise OSError(reason) from error
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        served = response.headers.get("Content-Range", "")
        if not served.startswith(f"bytes {start}-"):
            response.close()
            raise OSError(f"the server sent {served or 'an unspecified range'} when byte {start} onwards was requested")
    return response


@contextlib.contextmanager
def open_command(url: str, scheme: str) -> Iterator[IO[bytes]]:
    """What the command-line client of a scheme writes for a URL.

    Raises:
        UnfetchableError: the client is not installed.
        OSError: it failed.
    """
    from webdataset.gopen import Pipe, gopen_schemes

    try:
        # `gopen` itself would also rewrite the URL from an environment variable, even into a shell command.
        if scheme == "s3" and scheme not in gopen_schemes:
            stream = Pipe(["aws", "s3", "cp", url, "-"], mode="rb", bufsize=8192)
        else:
            stream = gopen_schemes[scheme](url, "rb", 8192)
    except (FileNotFoundError, ImportError) as error:
        raise UnfetchableError(f"{scheme} needs a program that is not installed: {error}") from error
    try:
        # Not `stream.read`: its errors quote the whole command line, which may contain a token.
        yield stream.stream
    finally:
        stream.ignore_errors = True
        stream.close()
        if stream.status not in _GOOD_ENDS:
            # The end of the stream was a failure, not the end of the file.
            raise OSError(f"the program that reads {scheme} URLs ended with status {stream.status}")


def _has(path: Path, checksum: FileChecksum) -> bool:
    # A file of another size is not read.
    return path.stat().st_size == checksum.bytes and file_checksum(path) == checksum
