"""The guard of the explorer's requests: what may be named, how much may be brought, and from which page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from retrieval.explore import uploads
from retrieval.explore.upload_folder import NOT_UPLOADED, UploadFolder
from retrieval.explore.uploads import MAX_DEPTH, UploadGuard

JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


def ask(
    guard: UploadGuard, path: str, parts: list[bytes], headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, str]:
    """Status and body of the answer to a request whose body comes in parts."""
    return asyncio.run(_ask(guard, path, parts, headers or {}, method))


async def _ask(
    guard: UploadGuard, path: str, parts: list[bytes], headers: dict[str, str], method: str
) -> tuple[int, str]:
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": part, "more_body": n < len(parts) - 1} for n, part in enumerate(parts)]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in ({"host": "here:7860"} | headers).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b""}
    await guard(scope, receive, send)
    assert [message["type"] for message in sent[:1]] == ["http.response.start"]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that arrived."""
    await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)


def storing(folder: Path) -> Callable[[Scope, Receive, Send], Any]:
    """An application that stores what it is sent while it arrives, as Gradio does."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with (folder / f"upload-{len(list(folder.iterdir()))}").open("wb") as file:
            try:
                async for chunk in Request(scope, receive).stream():
                    file.write(chunk)
                    file.flush()
            except ClientDisconnect:
                await PlainTextResponse("the visitor went away", 500)(scope, receive, send)
                raise
        await PlainTextResponse("stored")(scope, receive, send)

    return app


@pytest.fixture
def guard(tmp_path: Path) -> UploadGuard:
    folder = tmp_path / "uploads"
    folder.mkdir()
    return UploadGuard(echo, UploadFolder(folder))


def test_a_request_reaches_the_page_as_it_was_sent(guard: UploadGuard, tmp_path: Path) -> None:
    body = json.dumps({"data": [1, {"path": str(tmp_path / "uploads" / "a" / "own.wav")}, {"path": None}]}).encode()
    assert ask(guard, JOIN, [body[:9], body[9:]]) == (200, body.decode())
    assert ask(guard, "/gradio_api/stream/7/close", [b""]) == (200, "")
    assert ask(guard, "/config", [b""], method="GET") == (200, "")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "..", "../secret", "http://example.com/x", "own/../../x", "", "/tmp/x\0y", "~/x", 7, ["/x"], {}],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_file_elsewhere_is_refused(guard: UploadGuard, path: object, method: str) -> None:
    for value in ({"path": path}, [[{"a": {"b": [{"path": path}]}}]]):
        for to in (JOIN, "/gradio_api/uploads", "/gradio_api/upload/../queue/join"):
            assert ask(guard, to, [json.dumps(value).encode()], method=method) == (400, NOT_UPLOADED + "\n")


def test_a_link_out_of_the_folder_is_refused(guard: UploadGuard, tmp_path: Path) -> None:
    (tmp_path / "uploads" / "link").symlink_to(tmp_path / "secret")
    assert guard.objection(json.dumps({"path": str(tmp_path / "uploads" / "link")}).encode()) == NOT_UPLOADED
    assert guard.objection(json.dumps({"path": str(tmp_path / "uploads" / "own")}).encode()) is None


@pytest.mark.parametrize("body", [b"no json", b"\xff\xfe", b"{", b"[" * 900_000, b'{"a": ' * 100_000])
def test_what_cannot_be_read_to_its_end_is_refused(guard: UploadGuard, body: bytes) -> None:
    assert ask(guard, JOIN, [body]) == (400, "the request is not valid JSON\n")


def test_depth_is_limited(guard: UploadGuard) -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b'{"path": "/etc/passwd"}' + b"]" * depth

    assert guard.objection(nested(MAX_DEPTH - 1)) == NOT_UPLOADED
    assert guard.objection(nested(MAX_DEPTH)) == f"the request is nested deeper than {MAX_DEPTH} levels"


places = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "path", "url"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(places)
def test_a_path_is_found_wherever_it_stands(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    def names_a_file(value: Any) -> bool:
        if isinstance(value, list):
            return any(map(names_a_file, value))
        return isinstance(value, dict) and (value.get("path") is not None or any(map(names_a_file, value.values())))

    guard = UploadGuard(echo, UploadFolder(tmp_path_factory.getbasetemp() / "no-uploads"))
    assert (guard.objection(json.dumps(value).encode()) == NOT_UPLOADED) == names_a_file(value)


def test_a_request_without_end_is_refused(guard: UploadGuard) -> None:
    assert ask(guard, JOIN, [b"x" * 600_000] * 3) == (413, "the request is too large\n")


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", "http://here:7861", "http://here"])
@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_requests_from_other_pages_are_refused(guard: UploadGuard, origin: str, path: str) -> None:
    status, told = ask(guard, path, [b"{}"], {"origin": origin})
    assert (status, told) == (403, "the request does not come from this page; reload it and try again\n")
    assert ask(guard, path, [b"{}"], {"origin": "http://here:7860"}) == (200, "{}")


def test_an_upload_is_bounded_while_it_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FORM_BYTES", 100)
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", 80_000_000)
    guard = UploadGuard(storing(tmp_path), UploadFolder(tmp_path))
    refused = (413, "an upload can have 80 MB; give a smaller file\n")
    assert ask(guard, UPLOAD, [b"x" * 50, b"x" * 50]) == (200, "stored")
    assert ask(guard, UPLOAD, [b"x" * 50, b"x" * 51]) == refused
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 150
    # The stated length is believed where it is too large, and not where it is small.
    assert ask(guard, UPLOAD, [b"x"], {"content-length": "101"}) == refused
    assert ask(guard, UPLOAD, [b"x" * 101], {"content-length": "1"}) == refused
    assert len(list(tmp_path.iterdir())) == 3


def test_uploads_that_arrive_together_keep_within_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FOLDER_BYTES", 1000)
    guard = UploadGuard(storing(tmp_path), UploadFolder(tmp_path))

    async def all_at_once() -> list[tuple[int, str]]:
        return await asyncio.gather(*(_ask(guard, UPLOAD, [b"x" * 45] * 4, {}, "POST") for _ in range(28)))

    answers = asyncio.run(all_at_once())
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert held <= 1000
    assert {answer for answer in answers if answer[0] != 200} == {
        (413, "too many uploads within half an hour; try again later\n")
    }
    # What did not fit leaves no trace in what is counted: the folder takes more once it is empty.
    for path in tmp_path.iterdir():
        path.unlink()
    assert ask(guard, UPLOAD, [b"x" * 900]) == (200, "stored")


def test_other_kinds_of_connections_are_closed(guard: UploadGuard) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(guard({"type": "websocket", "path": JOIN, "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
