"""Downloads a file so that a kill or a cut loses only the part in progress: by Range, with If-Range to check parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.collecting.remote_files import RemoteFile, WrongContent
from shards.collecting.web import FileChanged, TryAgain, Web
from shards.records import shortened
from shards.streaming.fetching import arriving

_PARTIAL = 206
_PROGRESS_BYTES = 1 << 20
"""What an attempt must bring, where the size is unknown, for it to count as progress; else a hundredth of the file."""


@dataclass
class _Resumption:
    """The part of a file that is there, and under which validator it was served."""

    part: Path
    validator: str


def download(web: Web, file: RemoteFile, part: Path, validator: str, remember: Callable[[str], None]) -> None:
    """Downloads a file to `part`, resuming what is there, and compares size and checksums.

    Args:
        web: the client.
        file: what to download.
        part: where to; may hold the beginning from an earlier attempt.
        validator: ETag or date under which that beginning was served, "" if unknown.
        remember: called with the validator before anything is written.

    Raises:
        WrongContent: twice it was not the file that was listed; `part` is removed.
        Refused, Unreachable, UserError: as `Web.read`.
    """
    state = _Resumption(part, validator)
    for attempts_left in (1, 0):
        if file.size is None or part_bytes(part) < file.size:
            web.with_retries(file.url, lambda: _fetch_rest(web, file, state, remember))
        try:
            file.check(part)
            return
        except WrongContent:
            part.unlink(missing_ok=True)
            state.validator = ""
            if not attempts_left:
                raise


def part_bytes(part: Path) -> int:
    """How much of a file is there."""
    return part.stat().st_size if part.exists() else 0


def _fetch_rest(web: Web, file: RemoteFile, state: _Resumption, remember: Callable[[str], None]) -> None:
    have = part_bytes(state.part)
    if not (state.validator or file.checksums):  # nothing would show that both parts are of one file
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and state.validator:
        headers["If-Range"] = state.validator
    before = have
    try:
        with web.opened(file.url, headers) as response:
            before = _start_of(response, have, state.validator)
            state.validator = _validator(response.headers)
            remember(state.validator)
            _write(response, state.part, before, file.most_bytes)
    except FileChanged as problem:
        state.part.unlink(missing_ok=True)
        state.validator = ""
        raise TryAgain(str(problem)) from problem
    except TryAgain as problem:
        enough = _PROGRESS_BYTES if file.size is None else file.size / 100
        problem.has_progress = part_bytes(state.part) - before > enough
        raise


def _write(response: Any, part: Path, start: int, most_bytes: int) -> None:
    with part.open("r+b" if start else "wb") as out:
        out.seek(start)
        # One byte too many is enough to know that it is another file.
        for chunk in arriving(response, most_bytes + 1 - start):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())


def _start_of(response: Any, have: int, validator: str) -> int:
    """Where an answer begins: at the byte that was asked for, or at 0 if the server sends the whole file."""
    if response.status != _PARTIAL:
        return 0
    served = response.headers.get("Content-Range", "")
    if not served.startswith(f"bytes {have}-"):
        raise TryAgain(f"the server sent {shortened(served) or 'an unspecified range'} instead of byte {have} on")
    if validator and _validator(response.headers) not in ("", validator):  # a server that ignores If-Range
        raise FileChanged("the file has changed while it was read")
    return have


def _validator(headers: Mapping[str, str]) -> str:
    """What If-Range may name: a strong ETag, else the date of the last change (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")
