"""Guards visitors' uploads: limits and cleans their folder, and rejects requests that name files outside it."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_FOLDER_BYTES = 1_000_000_000
KEPT_SECONDS = 1800.0
MAX_REQUEST_BYTES = 1_000_000
"""Limit on requests other than uploads; clicks and selections take a few hundred bytes."""

UPLOAD_PATH = "/gradio_api/upload"


class UploadGuard:
    """Wraps the page's application, because Gradio cleans up uploads only if it runs the server itself.

    Old uploads, including interrupted ones, are deleted. Requests may name only files in the upload folder, and no URLs
    for the server to fetch.

    Args:
        app: the page.
        folder: the upload folder.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app, self._folder = app, folder.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(UPLOAD_PATH):
            self.sweep(time.time())
            if self.held_bytes() > MAX_FOLDER_BYTES:
                await _refused(413, "too many uploads within half an hour; try again later")(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        else:
            await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_REQUEST_BYTES:
                await _refused(413, "the request is too large")(scope, receive, send)
                return
        # A request that isn't JSON can't name a file to the application either.
        with contextlib.suppress(ValueError, RecursionError):
            if not self.names_uploads_only(json.loads(body)):
                await _refused(400, "the file was not uploaded here; drop it onto the page")(scope, receive, send)
                return
        handed_on = False

        async def receive_again() -> Message:
            nonlocal handed_on
            if handed_on:
                return await receive()
            handed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)

    def names_uploads_only(self, value: Any) -> bool:
        """Whether every "path" in a request is inside the folder."""
        if isinstance(value, list):
            return all(map(self.names_uploads_only, value))
        if not isinstance(value, dict):
            return True
        path = value.get("path")
        if isinstance(path, str) and not self._is_within(path):
            return False
        return all(map(self.names_uploads_only, value.values()))

    def _is_within(self, path: str) -> bool:
        try:
            return Path(path).resolve().is_relative_to(self._folder)
        except (OSError, ValueError, RuntimeError):
            return False

    def sweep(self, now: float) -> None:
        """Deletes files older than half an hour."""
        for path in self._files():
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()

    def held_bytes(self) -> int:
        """Total size of the uploaded files."""
        held = 0
        for path in self._files():
            with contextlib.suppress(OSError):
                held += path.stat().st_size
        return held

    def _files(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if path.is_file()]


def _refused(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(sentence + "\n", status)
