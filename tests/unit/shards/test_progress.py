"""Progress lines: what they count as passed, and when they say how much is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from shards.progress import LOG_EVERY_SECONDS, ProgressLine


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("shards.progress.time.monotonic", lambda: self.now)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_long_start_is_passed_time_but_no_pace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with ProgressLine("training", 100, done=40) as progress:
        clock.now += 60  # starts loaders and compiles
        progress.advance()
        assert lines(capsys) == ["training: 41/100 in 60 s"]
        for _ in range(10):
            clock.now += 1
            progress.advance(detail="loss 1.0")
        assert lines(capsys) == ["training: 51/100 in 70 s, about 49 s to go · loss 1.0"]
        for _ in range(49):
            clock.now += 1
            progress.advance()
    assert lines(capsys)[-1] == "training: 100/100 in 119 s"


def test_passed_time_counts_from_where_the_work_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = ProgressLine("building shards", 2)
    clock.now += 100
    with progress:
        clock.now += LOG_EVERY_SECONDS
        progress.advance(2)
    assert lines(capsys) == ["building shards: 2/2 in 10 s"] * 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "in 0 s"), (119, "in 119 s"), (120, "in 2 min"), (5400, "in 90 min"), (9000, "in 2.5 h")],
)
def test_long_times_are_in_minutes_and_hours(seconds: float, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with ProgressLine("working", 10, enabled=False) as progress:
        clock.now += seconds
        assert progress.times == words


def test_a_bar_shows_the_same_times_as_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, screen = Clock(monkeypatch), io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr("shards.progress.Console", lambda **_: terminal)
    with ProgressLine("working", 100) as progress:
        for _ in range(10):
            clock.now += 2
            progress.advance()
    assert "10/100 in 20 s, about 3 min to go" in screen.getvalue()
