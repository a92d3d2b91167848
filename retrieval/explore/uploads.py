"""What visitors bring: a folder that is bounded and swept, and requests that may name no file but those in it."""

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
"""Of a request that is no upload: clicks and choices take some hundred bytes."""

UPLOAD_PATH = "/gradio_api/upload"


class UploadGuard:
    """Stands before the page's application, which looks after its uploads only where it runs the server itself.

    Uploads that were broken off are nobody's; they go with all others once they are old. A request may name a file only
    in the folder of uploads, and no address for the server to fetch.

    Args:
        app: the page.
        folder: that uploads come to.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app, self._folder = app, folder.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(UPLOAD_PATH):
            self.sweep(time.time())
            if self.held_bytes() > MAX_FOLDER_BYTES:
                await _refused(413, "too much was uploaded within half an hour; try again later")(scope, receive, send)
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
                await _refused(413, "this is more than a question can hold")(scope, receive, send)
                return
        # What is no JSON names no file to the application either.
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
        """Whether every "path" anywhere in a request leads into the folder."""
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
        """Deletes what is older than half an hour."""
        for path in self._files():
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()

    def held_bytes(self) -> int:
        """Sum of all files' sizes."""
        held = 0
        for path in self._files():
            with contextlib.suppress(OSError):
                held += path.stat().st_size
        return held

    def _files(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if path.is_file()]


def _refused(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(sentence + "\n", status)
