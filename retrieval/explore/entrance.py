"""Asks for a token before anything of the explorer is served to other machines."""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from retrieval.access import Door, Guard, enter

ENTER_PATH = "/enter"


class Entrance:
    """Wraps the page's application: without the cookie that the token gives, every request gets the form for it.

    Args:
        app: the page.
        door: checks the token.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._door = door
        self._guarded = Guard(app, door, frozenset(), lambda _: _form_page(HTTPStatus.UNAUTHORIZED, ""))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == ENTER_PATH:
            try:
                response = await enter(Request(scope, receive), self._door, _form_page)
            except HTTPException as error:
                response = PlainTextResponse("the form is too large\n", error.status_code)
            await response(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)


def _form_page(status: HTTPStatus, complaint: str) -> Response:
    text = resources.files("retrieval.explore").joinpath("templates", "explore_enter.html.j2").read_text("utf-8")
    return HTMLResponse(jinja2.Environment(autoescape=True).from_string(text).render(complaint=complaint), status)
