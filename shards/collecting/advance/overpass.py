"""Asks an Overpass service for one answer: politely spaced, again after a refusal or a time-out, within limits."""

from __future__ import annotations

import email.utils
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from typing import Any

import shards
from shards.errors import UserError, first_line, without_passwords
from shards.records import DamagedRecord, json_of, shortened
from shards.untrusted_text import without_controls

MOST_ATTEMPTS = 6
FIRST_WAIT = 5.0
"""Wait after the first refusal, in units of the time between two requests; it doubles with each."""

MOST_WAIT_SECONDS = 600.0
SERVER_SECONDS = 60
"""Time that the service may take for a query; its own default is 180."""

MOST_ANSWER_BYTES = 32 << 20
MOST_ANSWER_SECONDS = 300.0
"""For the transfer of an answer, so that one that arrives byte by byte does not hold the command."""

AGAIN = (429, 500, 502, 503, 504)
"""Statuses of a service that is busy: too many requests, or no slot free in time."""

FAILED = "runtime error"
"""How the field remark of an answer begins whose status is 200, but which is empty or cut: the query ran out of time or
memory after the answer had begun."""


class OverpassClient:
    """A client of one service, which sends one request at a time.

    Args:
        url: of its interpreter, http or https.
        seconds_between: least time between the starts of two requests.

    Raises:
        UserError: the address is none.
    """

    def __init__(self, url: str, seconds_between: float) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https") or not urllib.parse.urlsplit(url).netloc:
            raise UserError(
                f"--overpass {without_passwords(url)} is not an address; give that of an Overpass interpreter, such as "
                "http://HOST/api/interpreter"
            )
        self.url, self.seconds_between = url, seconds_between
        self._last = -float("inf")
        self.num_requests = 0

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The elements of the answer to a query in Overpass QL with [out:json].

        Raises:
            UserError: the service refuses the query, answers something else, or is busy for all attempts.
        """
        why, wait = "", 0.0
        for attempt in range(MOST_ATTEMPTS):
            time.sleep(wait)
            wait = min(MOST_WAIT_SECONDS, FIRST_WAIT * self.seconds_between * 2**attempt)
            try:
                return self._elements(self._send(query))
            except _BusyError as busy:
                why = str(busy)
                wait = min(MOST_WAIT_SECONDS, max(wait, busy.seconds or 0.0))
        raise UserError(
            f"--overpass {self._shown}: no answer after {MOST_ATTEMPTS} attempts ({why}); run the command again later: "
            "places that were answered are not asked for again"
        )

    @property
    def _shown(self) -> str:
        return without_passwords(self.url)

    def _send(self, query: str) -> bytes:
        """The body of a successful answer.

        Raises:
            _BusyError: it is worth another attempt.
            UserError: it is not.
        """
        time.sleep(max(0.0, self._last + self.seconds_between - time.monotonic()))
        self._last = time.monotonic()
        self.num_requests += 1
        request = urllib.request.Request(
            self.url,
            data=urllib.parse.urlencode({"data": query}).encode(),
            headers={"User-Agent": f"earshot/{shards.__version__}", "Accept": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=SERVER_SECONDS + 30) as answer:
                body = _body_of(answer)
        except urllib.error.HTTPError as error:
            with error:
                words = _words_of(error.read(4096))
            if error.code in AGAIN:
                raise _BusyError(f"status {error.code}", _retry_after(error.headers.get("Retry-After"))) from error
            raise UserError(
                f"--overpass {self._shown} answers with status {error.code}{words and ': '}{words}; give the address "
                "of an Overpass interpreter, or --osm with an extract"
            ) from error
        except (OSError, http.client.HTTPException) as error:  # refused, cut off, or no answer in time
            raise _BusyError(first_line(error)) from error
        if len(body) > MOST_ANSWER_BYTES:
            raise UserError(
                f"--overpass {self._shown}: an answer is larger than {MOST_ANSWER_BYTES >> 20} MB; lower within_metres "
                "in the label table"
            )
        return body

    def _elements(self, body: bytes) -> list[dict[str, Any]]:
        if FAILED.encode() in body and not body.lstrip().startswith(b"{"):
            raise _BusyError(_words_of(body))  # a page of HTML with status 200, when no slot was free
        try:
            record = json_of(body, "the answer")
        except DamagedRecord as error:
            raise _BusyError(first_line(error)) from error
        elements = record.get("elements") if isinstance(record, dict) else None
        if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
            raise UserError(f"--overpass {self._shown} answers without elements; it is not an Overpass interpreter")
        remark = record.get("remark")
        if isinstance(remark, str) and remark.lstrip().startswith(FAILED):
            raise _BusyError(shortened(without_controls(remark.strip()), 120))
        return elements


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects become errors: a query that was sent again by GET would have lost its text."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _body_of(answer: http.client.HTTPResponse) -> bytes:
    """An answer's body, at most one byte more than `MOST_ANSWER_BYTES`.

    Raises:
        _BusyError: it takes longer than `MOST_ANSWER_SECONDS`.
    """
    end = time.monotonic() + MOST_ANSWER_SECONDS
    body = bytearray()
    while len(body) <= MOST_ANSWER_BYTES and (block := answer.read1(1 << 16)):
        body += block
        if time.monotonic() > end:
            raise _BusyError(f"its answer took longer than {MOST_ANSWER_SECONDS:g} s")
    return bytes(body)


class _BusyError(Exception):
    """The service did not answer now; `seconds` is the wait that it asks for."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a count, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _words_of(body: bytes) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<[^>]*>", " ", body.decode("utf-8", "replace"))
    return shortened(" ".join(without_controls(text).split()), 160)
