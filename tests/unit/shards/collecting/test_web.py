"""The HTTP client against a server that misbehaves: waits, retries, resumed downloads, redirects, and the rate."""

from __future__ import annotations

import email.utils
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_server import ArchiveServer, Fault, serve_archive

from shards.collecting import downloading
from shards.collecting.downloading import part_bytes
from shards.collecting.remote_files import RemoteFile, WrongContent
from shards.collecting.web import Refused, Unreachable, Web, WebSettings, hidden
from shards.errors import UserError
from shards.records import json_of
from shards.streaming.fetching import RetryRule

CONTENT = bytes(range(256)) * 200
PATH = "/0/items/a/a.mp3"


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with serve_archive() as archive:
        archive.add("a", {"a.mp3": CONTENT})
        yield archive


def client(rate: float = 1000.0, attempts: int = 3, longest_wait: float = 5.0) -> Web:
    return Web(WebSettings(rate, "lab@example.org", RetryRule(attempts, 0.01, 0.02), longest_wait))


def read(web: Web, server: ArchiveServer, path: str = "/metadata/a") -> object:
    return web.read(server.url + path, 1 << 20, lambda answer: json_of(answer.body, "the record"))


def file_of(server: ArchiveServer, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(server.url + PATH, len(content), checksums={"sha1": hashlib.sha1(content).hexdigest()})


def download(web: Web, file: RemoteFile, part: Path, validator: str = "") -> list[str]:
    remembered: list[str] = []
    downloading.download(web, file, part, validator, remembered.append)
    return remembered


def test_the_user_agent_names_earshot_and_the_contact(server: ArchiveServer) -> None:
    read(client(), server)
    agent = server.requests[0].headers["user-agent"]
    assert agent.startswith("Earshot/")
    assert "contact: lab@example.org" in agent


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_transient_failures_are_retried(server: ArchiveServer, status: int) -> None:
    server.faults["/metadata/a"] = [Fault(status=status)] * 2
    assert read(client(), server)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusals_are_not_retried(server: ArchiveServer, status: int) -> None:
    server.always["/metadata/a"] = Fault(status=status)
    with pytest.raises(Refused, match=f"HTTP {status}") as caught:
        read(client(), server)
    assert (caught.value.status, len(server.requests)) == (status, 1)


def test_after_all_attempts_it_is_unreachable(server: ArchiveServer) -> None:
    server.always["/metadata/a"] = Fault(status=503)
    with pytest.raises(Unreachable, match="HTTP 503 Service Unavailable, 3 times"):
        read(client(), server)
    assert len(server.requests) == 3


def test_nobody_listens() -> None:
    with pytest.raises(Unreachable, match="refused"):
        client().read("http://127.0.0.1:9/x", 10, lambda answer: answer)


@pytest.mark.parametrize("is_date", [False, True])
def test_retry_after_is_honoured_in_seconds_and_as_a_date(server: ArchiveServer, is_date: bool) -> None:
    # A date has whole seconds: two from now is more than one away.
    asked = email.utils.formatdate(time.time() + 2, usegmt=True) if is_date else "1"
    server.faults["/metadata/a"] = [Fault(status=429, headers={"Retry-After": asked})]
    read(client(), server)
    first, second = (request.time for request in server.requests)
    assert second - first >= 0.95


def test_a_longer_wait_than_allowed_ends_the_command(server: ArchiveServer) -> None:
    server.faults["/metadata/a"] = [Fault(status=503, headers={"Retry-After": "86400"})]
    with pytest.raises(UserError, match=r"127.0.0.1 asks to wait 86,400 s .* --longest-wait 5; run the same"):
        read(client(), server)


@pytest.mark.parametrize("text", ["soon", "-3", "1e3", "Wed, 99 Foo", ""])
def test_an_unreadable_retry_after_is_as_none(server: ArchiveServer, text: str) -> None:
    server.faults["/metadata/a"] = [Fault(status=429, headers={"Retry-After": text})]
    assert read(client(), server)


def test_a_damaged_answer_is_asked_for_again(server: ArchiveServer) -> None:
    server.faults["/metadata/a"] = [Fault(body=b"<html>the system is slow</html>"), Fault(cut_after=20)]
    assert read(client(), server)
    assert len(server.requests) == 3


def test_a_long_answer_is_refused(server: ArchiveServer) -> None:
    with pytest.raises(Refused, match="longer than 100 bytes"):
        client().read(server.url + PATH, 100, lambda answer: answer)


def test_the_rate_is_kept_also_by_retries_and_redirects(server: ArchiveServer) -> None:
    server.faults["/metadata/a"] = [Fault(status=503)]
    web = client(rate=20.0)
    read(web, server)
    for _ in range(3):
        web.read(f"{server.url}/download/a/a.mp3", 1 << 20, lambda answer: answer)
    assert web.num_requests == len(server.requests) == 8
    assert server.slowest_rate() <= 20.0 * 1.15


def test_redirects_to_other_hosts_are_followed(server: ArchiveServer) -> None:
    answer = client().read(f"{server.url}/download/a/a.mp3", 1 << 20, lambda answer: answer)
    assert answer.body == CONTENT
    assert [request.headers["host"].split(":")[0] for request in server.requests] == ["127.0.0.1", "localhost"]


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_redirects_elsewhere_are_refused(server: ArchiveServer, location: str) -> None:
    server.always["/metadata/a"] = Fault(status=302, headers={"Location": location})
    with pytest.raises(Refused, match="no http or https address"):
        read(client(), server)


def test_redirects_in_a_circle_end(server: ArchiveServer) -> None:
    server.always["/metadata/a"] = Fault(status=302, headers={"Location": "/metadata/a"})
    with pytest.raises(Refused, match="more than 5 redirects"):
        read(client(), server)
    assert len(server.requests) == 6


def test_a_download_is_whole_and_remembers_its_validator(server: ArchiveServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    assert download(client(), file_of(server), part) == [f'"{hashlib.md5(CONTENT).hexdigest()}"']
    assert part.read_bytes() == CONTENT


def test_a_download_that_was_cut_goes_on_where_it_was(server: ArchiveServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(cut_after=8192), Fault(cut_after=8192)]
    download(client(), file_of(server), tmp_path / "part")
    assert [request.first_byte for request in server.requests] == [0, 8192, 16384]
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_progress_resets_the_count_of_failures(server: ArchiveServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(cut_after=4096)] * 10
    download(client(attempts=2), file_of(server), tmp_path / "part")
    assert len(server.requests) == 11


def test_a_part_that_is_there_is_resumed(server: ArchiveServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:1000])
    download(client(), file_of(server), part)
    assert server.requests[0].first_byte == 1000
    assert part.read_bytes() == CONTENT


def test_a_whole_part_is_only_checked(server: ArchiveServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT)
    download(client(), file_of(server), part)
    assert not server.requests


def test_a_file_that_has_changed_starts_over(server: ArchiveServer, tmp_path: Path) -> None:
    part, new = tmp_path / "part", CONTENT[::-1]
    part.write_bytes(CONTENT[:1000])
    server.replace("a", "a.mp3", new)
    download(client(), file_of(server, new), part, f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert [request.first_byte for request in server.requests] == [1000]  # If-Range brings the whole file at once
    assert part.read_bytes() == new


def test_without_validator_and_checksum_nothing_is_resumed(server: ArchiveServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"from another file")
    download(client(), RemoteFile(server.url + PATH), part)
    assert [request.first_byte for request in server.requests] == [0]
    assert part.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all(server: ArchiveServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:1000])
    server.faults[PATH] = [Fault(ignores_range=True)]
    download(client(), file_of(server), part)
    assert part.read_bytes() == CONTENT


def test_a_file_that_became_shorter_starts_over(server: ArchiveServer, tmp_path: Path) -> None:
    part, new = tmp_path / "part", CONTENT[:500]
    part.write_bytes(CONTENT[:1000])
    server.replace("a", "a.mp3", new)
    download(client(), RemoteFile(server.url + PATH, checksums={"md5": hashlib.md5(new).hexdigest()}), part)
    assert [request.first_byte for request in server.requests] == [1000, 0]
    assert part.read_bytes() == new


def test_wrong_content_is_fetched_once_more_and_then_refused(server: ArchiveServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    server.faults[PATH] = [Fault(corrupt=True)]
    download(client(), file_of(server), part)
    assert part.read_bytes() == CONTENT
    part.unlink()
    server.requests.clear()
    server.always[PATH] = Fault(corrupt=True)
    with pytest.raises(WrongContent, match=r"sha1 .* the list says"):
        download(client(), file_of(server), part)
    assert len(server.requests) == 2
    assert not part.exists()


def test_more_bytes_than_listed_are_not_read(server: ArchiveServer, tmp_path: Path) -> None:
    with pytest.raises(WrongContent, match="101 bytes, the list says 100"):
        download(client(), RemoteFile(server.url + PATH, 100), tmp_path / "part")
    with pytest.raises(WrongContent, match="more than 100 bytes"):
        download(client(), RemoteFile(server.url + PATH, largest=100), tmp_path / "part")


def test_an_empty_file_is_none(server: ArchiveServer, tmp_path: Path) -> None:
    server.contents["a", "a.mp3"] = b""
    with pytest.raises(WrongContent, match="empty"):
        download(client(), RemoteFile(server.url + PATH), tmp_path / "part")


def test_a_server_that_drips_is_as_good_as_silent(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shards.streaming.fetching._SILENCE_SECONDS", 0.05)
    server.faults[PATH] = [Fault(seconds_a_chunk=0.04)]
    download(client(), file_of(server), tmp_path / "part")
    assert len(server.requests) >= 2
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_full_disk_is_no_matter_of_the_network(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloading.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        download(client(), file_of(server), tmp_path / "part")
    assert len(server.requests) == 1


def test_secrets_and_passwords_are_hidden() -> None:
    text = "http://me:pw@host/x?key=a%2Fb and a/b"
    assert hidden(text, ("a/b",)) == "http://host/x?key=*** and ***"


def test_a_key_in_an_address_is_in_no_message(server: ArchiveServer) -> None:
    web = Web(WebSettings(1000.0, retry=RetryRule(2, 0.01, 0.02), secrets=("s3cret",)))
    server.always["/metadata/s3cret"] = Fault(status=503)
    for path in ("/metadata/s3cret", "/nowhere?key=s3cret"):
        with pytest.raises((Unreachable, Refused)) as caught:
            web.read(f"{server.url}{path}", 100, lambda answer: answer)
        assert "s3cret" not in str(caught.value)


def test_nothing_is_there_of_a_missing_part(tmp_path: Path) -> None:
    assert part_bytes(tmp_path / "none") == 0
