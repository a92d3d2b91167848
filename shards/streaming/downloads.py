"""A remote file as one stream from start to end: a broken download is resumed where it broke, and none ends early."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlsplit

from shards.errors import UserError, without_passwords
from shards.streaming.fetching import (
    COMMAND_SCHEMES,
    HTTP_SCHEMES,
    RetryRule,
    UnfetchableError,
    open_command,
    open_http,
)

SKIPPED_AT_ONCE = 1 << 20
RETRIES = RetryRule()


@contextlib.contextmanager
def open_download(url: str, retry: RetryRule = RETRIES) -> Iterator[IO[bytes]]:
    """Opens a URL of a scheme that shard sets are fetched by, except `pipe:`, to be read once from start to end.

    Raises:
        UserError: another scheme.
        UnfetchableError: it can't be fetched, even after retries; also raised while it is read.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme in HTTP_SCHEMES:
        with ResumedDownload(url, retry) as raw:
            yield io.BufferedReader(raw, 1 << 20)
    elif scheme in COMMAND_SCHEMES:
        with open_command(url, scheme) as stream:
            yield stream
    else:
        known = ", ".join((*HTTP_SCHEMES, *COMMAND_SCHEMES))
        raise UserError(
            f"{shown_url(url)} can't be read: the scheme must be one of {known}, got {scheme}; fetch it with your own "
            "tools and give the file"
        )


def shown_url(url: str) -> str:
    """A URL for messages and records, without passwords and signatures."""
    return re.sub(r"[?#].*$", "", without_passwords(url))


class ResumedDownload(io.RawIOBase):
    """A file of a web server.

    Args:
        url: its address.
        retry: how often it is tried again after a failure without progress.

    Raises:
        UnfetchableError: it can't be fetched, even after retries.
    """

    def __init__(self, url: str, retry: RetryRule) -> None:
        super().__init__()
        self._url, self._retry = url, retry
        self._position = self._failures = 0
        self._version: str | None = None
        self._response: Any = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads on; 0 only at the end of the file."""
        while True:
            try:
                if self._response is None:
                    self._response = self._open()
                chunk: bytes = self._response.read1(len(buffer))
                if not chunk and self._response.length:
                    raise OSError(f"the download ended {self._response.length:,} bytes early")
            except (OSError, http.client.HTTPException) as error:
                self._wait_or_give_up(error)
                continue
            buffer[: len(chunk)] = chunk
            self._position += len(chunk)
            self._failures = 0
            return len(chunk)

    def close(self) -> None:
        """Closes the connection."""
        if self._response is not None:
            self._response.close()
        super().close()

    def _open(self) -> Any:
        response = open_http(self._url, self._position)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if self._version not in (None, version):
            response.close()
            raise UnfetchableError("the file was changed while it was downloaded")
        self._version = version
        skip = self._position if response.status == http.HTTPStatus.OK else 0
        while skip:
            skipped = len(response.read(min(skip, SKIPPED_AT_ONCE)))
            if not skipped:
                raise OSError("the download ended early")
            skip -= skipped
        return response

    def _wait_or_give_up(self, error: Exception) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        if isinstance(error, UnfetchableError):
            raise error
        if isinstance(error, http.client.InvalidURL):
            raise UnfetchableError("not a valid URL") from None  # the original message may contain a password
        self._failures += 1
        if self._failures >= self._retry.attempts:
            detail = " ".join(str(error).split()) or type(error).__name__
            raise UnfetchableError(f"{detail}, {self._failures} times") from error
        self._retry.wait(self._failures)
