"""What is asked before a long download."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from shards.collecting import estimate
from shards.collecting.estimate import confirm, shown_bytes
from shards.errors import UserError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ask(
    out: Path, monkeypatch: pytest.MonkeyPatch, answer: str, *, num_bytes: int | None = 1, requests: int = 1
) -> None:
    monkeypatch.setattr(estimate.sys, "stdin", Terminal(answer))
    confirm(out, "9 sounds", num_bytes=num_bytes, num_requests=requests, rate=2.0, yes=False)


def test_small_things_are_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(tmp_path, monkeypatch, "")
    ask(tmp_path, monkeypatch, "", num_bytes=estimate.ASK_ABOVE_BYTES, requests=estimate.ASK_ABOVE_REQUESTS)
    ask(tmp_path, monkeypatch, "", num_bytes=None)


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_a_yes_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(tmp_path, monkeypatch, answer, num_bytes=estimate.ASK_ABOVE_BYTES + 1, requests=14_400)
    printed = capsys.readouterr().err
    assert "to fetch: 9 sounds, at most 1.1 GB, at least 14,400 requests (2.0 h at 2 a second)" in printed
    assert "begin? [y/N]" in printed


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n"])
def test_anything_else_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    with pytest.raises(UserError, match="not begun"):
        ask(tmp_path, monkeypatch, answer, requests=estimate.ASK_ABOVE_REQUESTS + 1)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (435e9, "435.0 GB"), (2_500_000, "2 MB")],
)
def test_bytes_are_shown_in_their_unit(num_bytes: float, text: str) -> None:
    assert shown_bytes(num_bytes) == text
