"""Asks an Overpass service: one query at a time, politely spaced, again after a refusal or a time-out."""

from __future__ import annotations

import math
import urllib.parse
from typing import Any

from shards.collecting.web import Answer, Refused, Unreachable, Web, WebSettings
from shards.errors import UserError, without_passwords
from shards.records import DamagedRecord, json_of, shortened
from shards.streaming.fetching import RetryRule
from shards.untrusted_text import without_controls

FIRST_WAIT = 5.0
"""Wait after the first refusal, in units of the time between two requests; it doubles with each."""

MOST_WAIT_SECONDS = 600.0
SERVER_SECONDS = 45
"""Time that the service may take for a query, less than the silence that the client bears; its own default is 180."""

MOST_ANSWER_BYTES = 32 << 20

FAILED = "runtime error"
"""How the field remark of an answer begins whose status is 200, but which is empty or cut: the query ran out of time or
memory after the answer had begun."""


class OverpassClient:
    """A client of one service.

    Args:
        url: of its interpreter, http or https.
        seconds_between: least time between the starts of two requests.

    Raises:
        UserError: the address is none.
    """

    def __init__(self, url: str, seconds_between: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(
                f"--overpass {without_passwords(url)} is not an address; give that of an Overpass interpreter, such as "
                "http://HOST/api/interpreter"
            )
        rate = 1 / seconds_between if seconds_between else math.inf
        rule = RetryRule(first_seconds=FIRST_WAIT * seconds_between, most_seconds=MOST_WAIT_SECONDS)
        self.url = url
        self.web = Web(WebSettings(rate, retry=rule))

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The elements of the answer to a query in Overpass QL with [out:json].

        Raises:
            UserError: the service refuses the query, answers something else, or is busy for all attempts.
        """
        form = urllib.parse.urlencode({"data": query}).encode()
        try:
            elements = self.web.read(self.url, MOST_ANSWER_BYTES, elements_of, form=form)
        except Refused as error:
            raise UserError(
                f"--overpass {self._shown} refuses: {error}; give the address of an Overpass interpreter, or an "
                "extract with --osm"
            ) from error
        except Unreachable as error:
            raise UserError(
                f"--overpass gives no answer: {error}; run the command again later: places that were answered are not "
                "asked for again"
            ) from error
        if elements is None:
            raise UserError(f"--overpass {self._shown} answers without elements; it is not an Overpass interpreter")
        return elements

    @property
    def _shown(self) -> str:
        return without_passwords(self.url)


def elements_of(answer: Answer) -> list[dict[str, Any]] | None:
    """The elements of an answer; None where it is not one of an Overpass interpreter.

    Raises:
        DamagedRecord: it is cut, or says that the service was busy or out of time; another attempt may help.
    """
    record = json_of(answer.body, "the answer")  # a page of HTML with status 200, when no slot was free, is no JSON
    if not isinstance(record, dict):
        return None
    remark = record.get("remark")
    if isinstance(remark, str) and remark.lstrip().startswith(FAILED):
        raise DamagedRecord(shortened(without_controls(remark.strip()), 120))
    elements = record.get("elements")
    is_known = isinstance(elements, list) and all(isinstance(element, dict) for element in elements)
    return elements if is_known else None
