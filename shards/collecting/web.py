"""A polite HTTP client: one request at a time at a limited rate, retries, checked redirects, no keys in messages."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader

import shards
from shards.errors import UserError, first_line, without_passwords
from shards.records import DamagedRecord, shortened
from shards.streaming.fetching import RetryRule, arriving

WEB_SCHEMES = ("http", "https")
MOST_REDIRECTS = 5
_TRANSIENT_STATUS = (408, 425, 429)
_BEYOND_THE_END = 416
_CONNECT_SECONDS, _SILENCE_SECONDS = 30.0, 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class WebSettings:
    """How servers are asked.

    Attributes:
        requests_per_second: limit on the rate, of all hosts together, redirects and retries included.
        contact: an e-mail address or a page that the User-Agent names; may be empty.
        retry: attempts and waits.
        longest_wait: the longest wait in seconds that a server may ask for with Retry-After.
        secrets: texts, such as a key, that messages don't show.
    """

    requests_per_second: float
    contact: str = ""
    retry: RetryRule = field(default_factory=lambda: RetryRule(first_seconds=2.0, most_seconds=120.0))
    longest_wait: float = 3600.0
    secrets: tuple[str, ...] = ()

    @property
    def user_agent(self) -> str:
        """The User-Agent: Earshot, its version, and the contact."""
        contact = f"; contact: {self.contact}" if self.contact else ""
        return f"Earshot/{shards.__version__} (collects geotagged sounds and imagery for research{contact})"


@dataclass(frozen=True)
class Answer:
    """An answer that was read to its end.

    Attributes:
        body: its content.
        content_type: as the server states it, in lower case.
    """

    body: bytes
    content_type: str


class Refused(Exception):
    """The server will not give it, and asking again does not help; `status` is 0 where it is no matter of a status."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class Unreachable(Exception):
    """All attempts failed; another day may be better."""


class TryAgain(Exception):
    """One attempt failed; `seconds` is the wait that the server asks for, and progress resets the count of failures."""

    def __init__(self, reason: str, seconds: float | None = None, *, has_progress: bool = False) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.has_progress = has_progress


class FileChanged(Exception):
    """What is there of a file is not the beginning of what the server has now."""


class Web:
    """Reads from the web, http and https alone.

    Args:
        settings: how servers are asked.

    Attributes:
        num_requests: requests that were sent.
    """

    def __init__(self, settings: WebSettings) -> None:
        self.settings = settings
        self.num_requests = 0
        self._next_request = 0.0
        self._pools: dict[str, urllib3.PoolManager] = {}

    def read(self, url: str, most_bytes: int, parse: Callable[[Answer], T], *, form: bytes | None = None) -> T:
        """Reads a short answer.

        Args:
            url: its address.
            most_bytes: a longer answer is refused.
            parse: makes the result; an answer that it finds damaged (`DamagedRecord`) is asked for again.
            form: sent by POST, as `urllib.parse.urlencode` writes it; redirects are then refused. None for GET.

        Raises:
            Refused: the server refuses it, such as 404, or it is too long.
            Unreachable: all attempts failed.
            UserError: the server asks for a longer wait than is allowed.
        """

        def attempt() -> T:
            with self.opened(url, {}, form=form) as response:
                body = b"".join(arriving(response, most_bytes + 1))
                if len(body) > most_bytes:
                    raise Refused(f"{self.shown(url)} is longer than {most_bytes:,} bytes")
                headers = response.headers
            try:
                return parse(Answer(body, headers.get("Content-Type", "").lower()))
            except DamagedRecord as error:
                raise TryAgain(str(error)) from error

        return self.with_retries(url, attempt)

    def shown(self, text: str) -> str:
        """An address or a message without passwords and keys."""
        return hidden(text, self.settings.secrets)

    def with_retries(self, url: str, attempt: Callable[[], T]) -> T:
        """Makes attempts until one succeeds; see `read` for what is raised.

        Args:
            url: the address, for messages.
            attempt: raises `TryAgain` where another one may help.
        """
        rule, failures = self.settings.retry, 0
        while True:
            try:
                return attempt()
            except TryAgain as problem:
                failures = 1 if problem.has_progress else failures + 1
                reason = self.shown(str(problem))
                self._check_wait(url, problem.seconds)
                if failures >= rule.attempts:
                    raise Unreachable(f"{self.shown(url)}: {reason}, {failures} times") from problem
                if problem.seconds is None:
                    rule.wait(failures)
                else:
                    time.sleep(problem.seconds)

    def _check_wait(self, url: str, seconds: float | None) -> None:
        if seconds is not None and seconds > self.settings.longest_wait:
            raise UserError(
                f"{urlsplit(url).hostname} asks to wait {seconds:,.0f} s (Retry-After), longer than --longest-wait "
                f"{self.settings.longest_wait:g}; run the same command again later, it resumes"
            )

    @contextlib.contextmanager
    def opened(self, url: str, headers: Mapping[str, str], *, form: bytes | None = None) -> Iterator[Any]:
        """The answer to a request, redirects followed; failures on the way and while it is read are `TryAgain`."""
        try:
            response = self._follow(url, headers, form)
            try:
                self._check_status(response)
                yield response
            except BaseException:
                response.close()  # the connection holds the rest of the answer
                raise
            response.release_conn()
        except (HTTPError, TimeoutError, ConnectionError) as error:
            raise TryAgain(first_line(error)) from error
        except OSError as error:
            if error.errno is not None:  # of our own disk
                raise
            raise TryAgain(first_line(error)) from error

    def _follow(self, url: str, headers: Mapping[str, str], form: bytes | None) -> Any:
        sent = {"User-Agent": self.settings.user_agent, **headers}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        for _ in range(MOST_REDIRECTS + 1):
            if urlsplit(url).scheme.lower() not in WEB_SCHEMES or not urlsplit(url).hostname:
                raise Refused(f"{shortened(self.shown(url), 200)} is no http or https address")
            self.pace()
            response = self._pool(url).request(
                "GET" if form is None else "POST",
                url,
                body=form,
                headers=sent,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_SILENCE_SECONDS),
            )
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            url = urljoin(url, location)
            if form is not None:  # most servers would be sent a GET without it
                raise Refused(f"it redirects to {shortened(self.shown(url), 200)}")
        raise Refused(f"more than {MOST_REDIRECTS} redirects, the last to {shortened(self.shown(url), 200)}")

    def _check_status(self, response: Any) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        reason = f"HTTP {status} {shortened(response.reason or '')}".rstrip()
        if status == _BEYOND_THE_END:
            raise FileChanged("the file has become shorter while it was read")
        if status in _TRANSIENT_STATUS or status >= 500:
            asked = response.headers.get("Retry-After")
            raise TryAgain(reason, None if asked is None else _seconds_to_wait(asked))
        raise Refused(reason, status)

    def pace(self) -> None:
        """Waits until the next request is due; also for those that a library sends by itself."""
        now = time.monotonic()
        if now < self._next_request:
            time.sleep(self._next_request - now)
        self._next_request = max(now, self._next_request) + 1.0 / self.settings.requests_per_second
        self.num_requests += 1

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The connections for an address: through the proxy that the environment names, else direct."""
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme, "")
        if proxy and urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = ""
        if proxy not in self._pools:
            self._pools[proxy] = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
        return self._pools[proxy]


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """A text without passwords in addresses, and with *** for secrets, as they are and as addresses quote them."""
    for secret in secrets:
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, "***") if form else text
    return without_passwords(text)


def _seconds_to_wait(retry_after: str) -> float | None:
    """The wait that Retry-After asks for, in seconds or until a date; None where it can't be read."""
    try:
        return urllib3.Retry(retry_after_max=10**9).parse_retry_after(retry_after)
    except (InvalidHeader, OverflowError, ValueError):
        return None
