"""The study's pages: welcome, one page per pair, thanks; each answer is stored before the next page is sent."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import sys
from collections.abc import Sequence
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from retrieval.access import Door, Guard, bounded_form, comes_from_elsewhere, enter, set_cookie
from retrieval.study.answers import ANSWERS, Answers
from retrieval.study.folder import MEDIA_FOLDER, Credit, Study, StudyPair

SECONDS_A_PAIR = 15
STATIC = {"study.css": "text/css", "study.js": "text/javascript"}
MEDIA_TYPES = {".jpg": "image/jpeg", ".mp3": "audio/mpeg"}
SENTENCES = {
    HTTPStatus.NOT_FOUND: "There is no such page in this study.",
    HTTPStatus.FORBIDDEN: "This form does not come from this study's pages. Reload the page and answer there.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.BAD_REQUEST: "This is not a valid answer.",
}


def rater_order(pairs: Sequence[StudyPair], seed: int, rater: str) -> list[StudyPair]:
    """The order in which a rater sees the pairs; always the same for the same rater."""
    return sorted(pairs, key=lambda pair: hashlib.blake2b(f"{seed}/{rater}/{pair.id}".encode()).digest())


def study_app(folder: Path, study: Study, answers: Answers, door: Door | None) -> Starlette:
    """The application that serves a study.

    Args:
        folder: the study's folder.
        study: the study.
        answers: stores the answers.
        door: checks the token, None if none is required.
    """
    pages = _Pages(folder, study, answers, door)
    open_paths = frozenset({"/enter", *(f"/static/{name}" for name in STATIC)})
    return Starlette(
        routes=[
            Route("/", pages.welcome),
            Route("/begin", pages.begin, methods=["POST"]),
            Route("/pairs/{place}", pages.pair),
            Route("/answers", pages.answer, methods=["POST"]),
            Route("/thanks", pages.thanks),
            Route("/media/{name}", pages.media),
            Route("/static/{name}", pages.static),
            Route("/enter", pages.enter, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, door=door, open_paths=open_paths, ask=pages.ask)],
        exception_handlers={HTTPException: pages.refusal, sqlite3.Error: pages.failure},
    )


class _Pages:
    def __init__(self, folder: Path, study: Study, answers: Answers, door: Door | None) -> None:
        self._study, self._answers, self._door = study, answers, door
        self._media = {name: folder / MEDIA_FOLDER / name for name in study.media}
        self._ids = {pair.id for pair in study.pairs}
        self._places = {str(place): place for place in range(1, len(study.pairs) + 1)}
        # Browsers may have cookies and cached media of other studies from this address.
        self._version = study.version
        self._rater_cookie = f"earshot_rater_{self._version}"
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("retrieval.study"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )

    def welcome(self, request: Request) -> Response:
        """The welcome page; a rater who has already started continues from here."""
        rater = self._rater(request)
        done = len(self._answers.of_rater(rater)) if rater else 0
        total = len(self._study.pairs)
        minutes = max(1, round(total * SECONDS_A_PAIR / 60))
        return self._page("welcome", done=done, total=total, minutes=minutes)

    async def begin(self, request: Request) -> Response:
        """Registers a rater who agrees to take part."""
        _refuse_if(comes_from_elsewhere(request), HTTPStatus.FORBIDDEN)
        rater = await run_in_threadpool(self._rater, request)
        response = RedirectResponse("/thanks", HTTPStatus.SEE_OTHER)
        if rater is None:
            set_cookie(response, self._rater_cookie, await run_in_threadpool(self._answers.add_rater))
        return response

    def pair(self, request: Request) -> Response:
        """One pair with the question; pairs are numbered from 1, and each requires answers to all earlier ones."""
        if (place := self._places.get(request.path_params["place"])) is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if (rater := self._rater(request)) is None:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        given, order = self._answers.of_rater(rater), self._order(rater)
        if (first := _first_open(order, given)) is not None and place > first:
            return RedirectResponse(f"/pairs/{first}", HTTPStatus.SEE_OTHER)
        pair = order[place - 1]
        return self._page(
            "pair",
            pair=pair,
            version=self._version,
            question=self._study.question,
            place=place,
            total=len(order),
            form_token=self._form_token(rater),
            given=given.get(pair.id),
        )

    async def answer(self, request: Request) -> Response:
        """Stores an answer, and only then redirects to the next pair."""
        _refuse_if(comes_from_elsewhere(request), HTTPStatus.FORBIDDEN)
        form = await bounded_form(request)
        rater = await run_in_threadpool(self._rater, request)
        if rater is None:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        is_ours = hmac.compare_digest(form.get("form_token", "").encode(), self._form_token(rater).encode())
        _refuse_if(not is_ours, HTTPStatus.FORBIDDEN)
        pair, answer = form.get("pair", ""), form.get("answer", "")
        _refuse_if(pair not in self._ids or answer not in ANSWERS, HTTPStatus.BAD_REQUEST)
        await run_in_threadpool(self._answers.record, rater, pair, answer)
        return RedirectResponse("/thanks", HTTPStatus.SEE_OTHER)

    def thanks(self, request: Request) -> Response:
        """The final page, or a redirect to the first unanswered pair."""
        if (rater := self._rater(request)) is None:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        place = _first_open(self._order(rater), self._answers.of_rater(rater))
        if place is not None:
            return RedirectResponse(f"/pairs/{place}", HTTPStatus.SEE_OTHER)
        # Both lists are sorted separately, so that they don't reveal which items belong together.
        pictures = sorted({pair.image for pair in self._study.pairs}, key=_by_title)
        sounds = sorted({pair.sound for pair in self._study.pairs}, key=_by_title)
        return self._page("thanks", total=len(self._study.pairs), credits={"Images": pictures, "Sounds": sounds})

    def media(self, request: Request) -> Response:
        """An image or clip of the study, with support for range requests."""
        path = self._media.get(request.path_params["name"])
        if path is None or not path.is_file():
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return FileResponse(
            path, media_type=MEDIA_TYPES[path.suffix], headers={"cache-control": "private, max-age=86400"}
        )

    def static(self, request: Request) -> Response:
        """The stylesheet and the script of the pages."""
        name = request.path_params["name"]
        _refuse_if(name not in STATIC, HTTPStatus.NOT_FOUND)
        text = resources.files("retrieval.study").joinpath("templates", name).read_text(encoding="utf-8")
        return Response(text, media_type=STATIC[name])

    async def enter(self, request: Request) -> Response:
        """Checks a token."""
        if self._door is None:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        return await enter(
            request, self._door, lambda status, complaint: self._page("enter", status, complaint=complaint)
        )

    def ask(self, request: Request) -> Response:  # noqa: ARG002
        """The page that asks for the token."""
        return self._page("enter", HTTPStatus.UNAUTHORIZED, complaint="")

    def refusal(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """An error page for an invalid request."""
        status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.BAD_REQUEST
        return self._page("sentence", status, sentence=SENTENCES.get(status, status.description or status.phrase))

    def failure(self, request: Request, error: Exception) -> Response:
        """An error page for a database failure; the cause is printed on the server."""
        print(f"error: answers can't be stored or read at {request.url.path}: {error}", file=sys.stderr, flush=True)
        sentence = (
            "The last answer could not be stored. Go back and answer again."
            if request.url.path == "/answers"
            else "The study is not available at the moment. No answer is lost; try again in a few minutes."
        )
        return self._page("sentence", HTTPStatus.SERVICE_UNAVAILABLE, sentence=sentence)

    def _rater(self, request: Request) -> str | None:
        rater = request.cookies.get(self._rater_cookie)
        return rater if rater and self._answers.has_rater(rater) else None

    def _order(self, rater: str) -> list[StudyPair]:
        return rater_order(self._study.pairs, self._study.seed, rater)

    def _form_token(self, rater: str) -> str:
        return hmac.new(self._answers.secret.encode(), rater.encode(), hashlib.sha256).hexdigest()

    def _page(self, name: str, status: HTTPStatus = HTTPStatus.OK, **contents: Any) -> Response:
        return HTMLResponse(self._environment.get_template(f"{name}.html.j2").render(**contents), status)


def _first_open(order: list[StudyPair], given: dict[str, str]) -> int | None:
    """Number of the first unanswered pair, counted from 1; None if all are answered."""
    return next((place for place, pair in enumerate(order, start=1) if pair.id not in given), None)


def _refuse_if(condition: bool, status: HTTPStatus) -> None:
    if condition:
        raise HTTPException(status)


def _by_title(credit: Credit) -> tuple[str, str]:
    return credit.title.casefold(), credit.key
