"""The folder of uploads: what may be named in a request, what is swept, and when it is full."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from retrieval.explore import uploads
from retrieval.explore.uploads import KEPT_SECONDS, UploadGuard


def ask(guard: UploadGuard, path: str, parts: list[bytes]) -> tuple[int, bytes]:
    """Status and body of the answer to a POST whose body comes in parts."""
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": part, "more_body": n < len(parts) - 1} for n, part in enumerate(parts)]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body that arrived."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_a_request_reaches_the_page_as_it_was_sent(tmp_path: Path) -> None:
    body = json.dumps({"data": [1, {"path": str(tmp_path / "a" / "own.wav")}]}).encode()
    assert ask(UploadGuard(echo, tmp_path), "/gradio_api/queue/join", [body[:9], body[9:]]) == (200, body)
    assert ask(UploadGuard(echo, tmp_path), "/gradio_api/queue/join", [b"no json"]) == (200, b"no json")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "..", "../secret", "http://example.com/x", "own/../../x", "", "/tmp/x\0y", "~/x"]
)
def test_a_file_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    for value in ({"path": path}, [[{"a": {"b": [{"path": path}]}}]]):
        status, told = ask(UploadGuard(echo, folder), "/gradio_api/queue/join", [json.dumps(value).encode()])
        assert (status, told) == (400, b"the file was not uploaded here; drop it onto the page\n")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    assert not UploadGuard(echo, folder).names_uploads_only({"path": str(folder / "link")})
    assert UploadGuard(echo, folder).names_uploads_only({"path": str(folder / "own")})


def test_a_request_without_end_is_refused(tmp_path: Path) -> None:
    status, _ = ask(UploadGuard(echo, tmp_path), "/gradio_api/queue/join", [b"x" * 600_000] * 3)
    assert status == 413
    assert ask(UploadGuard(echo, tmp_path), "/gradio_api/upload", [b"x" * 600_000])[0] == 200


def test_old_files_go_and_a_full_folder_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = UploadGuard(echo, tmp_path)
    (tmp_path / "a").mkdir()
    old, new = tmp_path / "a" / "old", tmp_path / "new"
    old.write_bytes(b"12345")
    new.write_bytes(b"123")
    os.utime(old, (1000, 1000))
    assert guard.held_bytes() == 8
    guard.sweep(1000 + KEPT_SECONDS - 1)
    assert old.exists()
    monkeypatch.setattr(uploads, "MAX_FOLDER_BYTES", 2)
    status, told = ask(guard, "/gradio_api/upload", [b"more"])
    assert not old.exists()
    assert new.exists()
    assert (status, told) == (413, b"too many uploads within half an hour; try again later\n")
    monkeypatch.setattr(uploads, "MAX_FOLDER_BYTES", 3)
    assert ask(guard, "/gradio_api/upload", [b"more"])[0] == 200
