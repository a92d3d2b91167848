"""What a program that means no good gets from the explorer: no file of the machine's, no other host's page."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import PATIENCE_SECONDS, python, run
from explorer_server import explorer, explorer_output
from listening_shards import write_listening_shards, write_tiny_towers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explore")
    write_listening_shards(folder / "shards", {"test": 12})
    write_tiny_towers(folder / "model")
    (folder / "secret.wav").write_bytes(b"not for you")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with explorer(folder / "model", folder / "shards", "--layout", "tsne") as address:
        yield address


def raw_get(address: str, path: str, host: str | None = None) -> str:
    """A request whose path reaches the server as it is written."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host or parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65_536), b"")).decode("utf-8", "replace")


def call(address: str, function: str, data: list[object], event_data: object = None) -> str:
    """What the page's own way to Python answers, errors included."""
    config = json.load(urllib.request.urlopen(f"{address}config", timeout=PATIENCE_SECONDS))
    number = next(entry["id"] for entry in config["dependencies"] if entry["api_name"] == function)
    body = json.dumps({"data": data, "fn_index": number, "session_hash": "stranger", "event_data": event_data}).encode()
    request = urllib.request.Request(
        f"{address}gradio_api/queue/join", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).read()
        events = urllib.request.urlopen(
            f"{address}gradio_api/queue/data?session_hash=stranger", timeout=PATIENCE_SECONDS
        )
        told = []
        for line in events:
            told.append(line.decode())
            if "process_completed" in told[-1]:
                break
        return "".join(told)
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.parametrize("path", ["secret.wav", "model/config.json", "shards/manifest.json", "/etc/passwd"])
def test_no_file_outside_the_uploads_is_given(address: str, folder: Path, path: str) -> None:
    absolute = path if path.startswith("/") else str(folder / path)
    for asked in (absolute, f"../../../../../../..{absolute}", f"/tmp/../{absolute}", f"..%2f..%2f..%2f..{absolute}"):
        answer = raw_get(address, f"/gradio_api/file={asked}")
        assert answer.split()[1] in ("403", "404"), asked
    answer = raw_get(address, f"/assets/../../../../../../../..{absolute}")
    assert answer.split()[1] in ("403", "404")


def test_no_file_is_asked_with_that_was_not_uploaded(address: str, folder: Path) -> None:
    elsewhere = (str(folder / "secret.wav"), "../../../../../../etc/passwd", "/etc/passwd", "http://example.com/x.wav")
    for path in elsewhere:
        told = call(address, "of_sound_file", [{"path": path, "meta": {"_type": "gradio.FileData"}}])
        assert told == "the file was not uploaded here; drop it onto the page\n", path
        nested = [[{"deep": {"path": path, "meta": {"_type": "gradio.FileData"}}}]]
        assert "was not uploaded here" in call(address, "of_image_file", nested), path
    assert "the request is too large" in call(address, "of_sound_file", ["x" * 2_000_000])


def test_an_upload_keeps_to_its_folder_and_its_size(address: str, folder: Path) -> None:
    def upload(name: str, content: bytes) -> tuple[int, str]:
        edge = "edge-of-the-form"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        request = urllib.request.Request(
            f"{address}gradio_api/upload",
            data=head.encode() + content + f"\r\n--{edge}--\r\n".encode(),
            headers={"Content-Type": f"multipart/form-data; boundary={edge}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError as error:
            return 0, repr(error.reason)

    status, told = upload("../../../../escaped.wav", b"RIFF")
    assert status == 200
    kept = Path(json.loads(told)[0])
    assert kept.name == "escaped.wav"
    assert kept.parent.parent.name.startswith("earshot-explore-")
    assert kept.resolve() == kept
    # The server answers as soon as it has seen too much, and may hang up on what is still being sent.
    status, told = upload("huge.wav", bytes(60_000_000))
    assert (status == 413 and "an upload can have 50 MB" in told) or (
        status == 0 and ("Connection" in told or "Broken" in told)
    )
    assert not [path for path in kept.parent.parent.rglob("*") if path.name == "huge.wav"]
    assert raw_get(address, "/").startswith("HTTP/1.1 200")


def test_deep_requests_and_those_of_other_pages_are_refused(address: str) -> None:
    def post(path: str, body: bytes, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(f"{address}gradio_api/{path}", data=body, headers=headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
        return caught.value.code, caught.value.read().decode()

    json_type = {"Content-Type": "application/json"}
    assert post("queue/join", b"[" * 100_000, **json_type) == (400, "the request is not valid JSON\n")
    assert post("queue/join", b"[" * 100 + b"]" * 100, **json_type)[1].startswith("the request is nested deeper")
    for path in ("queue/join", "upload"):
        for origin in ("http://elsewhere.example", "null"):
            assert post(path, b"{}", Origin=origin, **json_type)[0] == 403
    assert raw_get(address, "/").startswith("HTTP/1.1 200")


def test_a_page_under_another_name_is_not_served(address: str) -> None:
    assert raw_get(address, "/", host="rebound.example").startswith("HTTP/1.1 400")
    assert raw_get(address, "/config", host="rebound.example").startswith("HTTP/1.1 400")
    port = urlsplit(address).port
    assert raw_get(address, "/", host=f"localhost:{port}").startswith("HTTP/1.1 200")


def test_it_is_bound_to_this_machine_alone(address: str) -> None:
    assert urlsplit(address).hostname == "127.0.0.1"
    answer = raw_get(address, "/")
    policy = next(line for line in answer.splitlines() if line.lower().startswith("content-security-policy"))
    assert "default-src 'self'" in policy
    assert "http" not in policy.split(":", 1)[1]


def test_other_machines_need_the_token(folder: Path) -> None:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object, **__: object) -> None:
            return None

    with explorer_output(folder / "model", folder / "shards", "--layout", "tsne", "--host", "0.0.0.0") as printed:
        token = next(line.split()[1] for line in printed if line.startswith("token "))
        address = f"http://127.0.0.1:{urlsplit(printed[-1]).port}/"
        opener = urllib.request.build_opener(Stay)

        def ask(path: str, body: bytes | None = None, cookie: str = "") -> tuple[int, str, str]:
            request = urllib.request.Request(f"{address}{path}", data=body, headers={"Cookie": cookie})
            try:
                answer = opener.open(request, timeout=PATIENCE_SECONDS)
            except urllib.error.HTTPError as error:
                answer = error
            return answer.status, answer.read().decode(), answer.headers.get("set-cookie", "")

        for path, body in (("", None), ("config", None), ("gradio_api/queue/join", b"{}"), ("gradio_api/upload", b"x")):
            status, text, cookie = ask(path, body)
            assert (status, cookie) == (401, "")
            assert "Enter your token" in text
        assert ask("enter", b"token=wrong")[::2] == (403, "")
        assert ask("enter", b"x" * 10_000)[0] == 413
        status, _, cookie = ask("enter", f"token={token}".encode())
        assert status == 303
        assert "HttpOnly" in cookie
        assert ask("config", cookie=cookie.split(";")[0])[0] == 200
        assert ask("config", cookie=cookie.split("=")[0] + "=guessed")[0] == 401


def test_a_taken_port_is_a_sentence(address: str, folder: Path, tmp_path: Path) -> None:
    words = ("--weights", folder / "model", "--shards", folder / "shards", "--layout", "tsne")
    port = str(urlsplit(address).port)
    result = run(python("retrieval/run.py", "explore", *words, "--port", port), cwd=tmp_path)
    assert result.returncode == 2
    assert f"error: can't listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("path", ["docs", "redoc"])
def test_nothing_of_the_framework_is_served_beside_the_page(address: str, path: str) -> None:
    assert raw_get(address, f"/{path}").split()[1] == "404"


@pytest.mark.parametrize(
    "data",
    [
        {"number": True, "modality": "image"},
        {"number": 10**30, "modality": "image"},
        {"number": 1, "modality": []},
        {"x": 1e400, "y": 1},
        {"x": 10**400, "y": 1},
        {"x": "1", "y": None},
        {"x": 1, "width": -5, "height": 1e400},
        [1, 2],
        "text",
        None,
    ],
)
def test_forged_clicks_change_nothing(address: str, data: object) -> None:
    told = call(address, "clicked_card", [None, [], []], event_data=data)
    told += call(address, "clicked_world", ["sound", None, [], []], event_data=data)
    told += call(address, "heat_of_part", [None, [], []], event_data=data)
    assert told.replace(" ", "").count('"success":true') == 3
    assert "card own" not in told


@pytest.mark.parametrize(
    ("labels", "splits"), [(["x"], []), ([10**30], []), ([[]], []), ([{}], [None]), ("text", 5), ([], ["train"])]
)
def test_forged_labels_and_splits_are_not_searched(address: str, labels: object, splits: object) -> None:
    told = call(address, "of_key", ["2000", "sound", None, labels, splits]).replace(" ", "")
    assert '"success":false' in told
    assert "Traceback" not in told


def test_sigterm_deletes_what_was_uploaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # other tests may run explorers at the same time
    with explorer(folder / "model", folder / "shards", "--layout", "tsne") as address:
        assert len(list(tmp_path.glob("earshot-explore-*"))) == 1
        connection = socket.create_connection(("127.0.0.1", urlsplit(address).port or 0))
        connection.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
        connection.close()
    assert not list(tmp_path.glob("earshot-explore-*"))
