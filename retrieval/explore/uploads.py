"""Guards the page against requests that name files of the machine, come from other pages, or bring too much."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.access import comes_from_elsewhere
from retrieval.explore.upload_folder import MAX_FOLDER_BYTES, MAX_UPLOAD_BYTES, NOT_UPLOADED, UploadFolder

MAX_REQUEST_BYTES = 1_000_000
"""Limit on requests other than uploads; clicks and selections take a few hundred bytes."""

MAX_FORM_BYTES = MAX_UPLOAD_BYTES + 1_000_000
"""Limit on an upload with the form around it."""

MAX_DEPTH = 32
"""Of lists and objects in a request; those of the page have six."""

UPLOAD_PATH = "/gradio_api/upload"
READING_METHODS = ("GET", "HEAD", "OPTIONS")


class UploadGuard:
    """Wraps the page's application, because Gradio cleans up uploads only if it runs the server itself.

    Everything but reading is refused unless it is known to be harmless: an upload from this page that the folder has
    room for, or JSON that names only files in the upload folder, and no URLs for the server to fetch.

    Args:
        app: the page.
        folder: the upload folder.
    """

    def __init__(self, app: ASGIApp, folder: UploadFolder) -> None:
        self._app, self._folder = app, folder
        self._held, self._arriving = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["method"] in READING_METHODS):
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif comes_from_elsewhere(Request(scope)):
            await _refused(403, "the request does not come from this page; reload it and try again")(
                scope, receive, send
            )
        elif scope["path"].rstrip("/") == UPLOAD_PATH:
            await self._upload(scope, receive, send)
        else:
            await self._checked(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands an upload on as long as its bytes, and those of others that are arriving, fit into the folder."""
        self._held = self._folder.sweep()
        arrived = 0
        stated = Headers(scope=scope).get("content-length", "0")
        refusal = self._objection_to(0, int(stated) if stated.isascii() and stated.isdecimal() else 0)

        async def receive_bounded() -> Message:
            nonlocal arrived, refusal
            message = await receive()
            size = len(message.get("body", b""))
            refusal = refusal or self._objection_to(arrived, size)
            if refusal is not None:
                return {"type": "http.disconnect"}
            arrived += size
            self._arriving += size
            return message

        async def send_unless_refused(message: Message) -> None:
            if refusal is None:
                await send(message)

        if refusal is None:
            try:
                await self._app(scope, receive_bounded, send_unless_refused)
            except Exception:
                # The application reports that its visitor went away; what was refused is answered below.
                if refusal is None:
                    raise
            finally:
                self._arriving -= arrived
                self._held = self._folder.sweep()  # which notes when the new file came
        if refusal is not None:
            await _refused(413, refusal)(scope, receive, send)

    def _objection_to(self, arrived: int, more: int) -> str | None:
        """Why an upload can't have so many more bytes; None if it can. Files that are still arriving count twice."""
        if arrived + more > MAX_FORM_BYTES:
            return f"an upload can have {MAX_UPLOAD_BYTES / 1e6:.0f} MB; give a smaller file"
        if self._held + self._arriving + more > MAX_FOLDER_BYTES:
            return "too many uploads within half an hour; try again later"
        return None

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_REQUEST_BYTES:
                await _refused(413, "the request is too large")(scope, receive, send)
                return
        if (refusal := self.objection(body)) is not None:
            await _refused(400, refusal)(scope, receive, send)
            return
        handed_on = False

        async def receive_again() -> Message:
            nonlocal handed_on
            if handed_on:
                return await receive()
            handed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)

    def objection(self, body: bytes) -> str | None:
        """Why a request is refused: no JSON, too deep, or it names a file that was not uploaded; None if it is not."""
        if not body:
            return None
        try:
            remaining: list[tuple[Any, int]] = [(json.loads(body), 0)]
        except (ValueError, RecursionError):
            return "the request is not valid JSON"
        while remaining:
            value, depth = remaining.pop()
            if not isinstance(value, list | dict):
                continue
            if depth == MAX_DEPTH:
                return f"the request is nested deeper than {MAX_DEPTH} levels"
            if isinstance(value, dict):
                path = value.get("path")
                if "path" in value and not (path is None or (isinstance(path, str) and self._folder.holds(path))):
                    return NOT_UPLOADED
                value = list(value.values())
            remaining += [(inner, depth + 1) for inner in value]
        return None


def _refused(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(sentence + "\n", status)
