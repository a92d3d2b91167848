"""Progress display: a bar in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from shards.loudness import is_quiet, is_verbose
from shards.remaining_time import RemainingTime

LOG_EVERY_SECONDS = 10.0
VERBOSE_EVERY_SECONDS = 1.0


class ProgressLine:
    """A progress bar in a terminal; elsewhere a plain line every ten seconds. Use it as a context manager.

    Both show the time since the context was entered, in this process and with all pauses, and, once it is known, the
    time that is left. With `--quiet` it shows nothing but warnings, with `--verbose` it prints plain lines every
    second.

    Args:
        title: the task, such as "building shards".
        total: total number of units.
        enabled: False prints nothing (for all processes but the first).
        done: units already done when work is resumed.
        plain: print lines in a terminal too, where bars of several processes would overwrite each other.
    """

    def __init__(self, title: str, total: int, *, enabled: bool = True, done: int = 0, plain: bool = False) -> None:
        self.title = title
        self.total = total
        self.done = done
        self._detail = ""
        self._shows_warnings = enabled
        self._enabled = enabled = enabled and not is_quiet()
        self._line_seconds = VERBOSE_EVERY_SECONDS if is_verbose() else LOG_EVERY_SECONDS
        self._started = self._last_line = time.monotonic()
        self._remaining = RemainingTime()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if enabled and console.is_terminal and not plain and not is_verbose():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Times(self),
                TextColumn("{task.fields[detail]}"),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, detail="")

    def __enter__(self) -> ProgressLine:
        self._started = self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._enabled and kind is None and (self.total or self.done):
            self._print_line(time.monotonic())

    @property
    def times(self) -> str:
        """The time that has passed and, once it is known, the time that is left: "in 40 s, about 3 min to go"."""
        return self._times_at(time.monotonic())

    def advance(self, units: int = 1, detail: str = "") -> None:
        """Adds `units` to the count; `detail`, such as a loss or a rate, is shown beside the bar."""
        self.done += units
        self._detail = detail
        now = time.monotonic()
        self._remaining.reached(self.done, now)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, detail=detail)
        elif self._enabled and now - self._last_line >= self._line_seconds:
            self._print_line(now)

    def write(self, message: str, *, warning: bool = False) -> None:
        """Prints a line above the bar; with `--quiet`, a warning alone."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False, markup=False)
        elif self._enabled or (warning and self._shows_warnings):
            print(message, file=sys.stderr, flush=True)

    def _times_at(self, now: float) -> str:
        left = self._remaining.seconds_left(self.total)
        return f"in {_duration(now - self._started)}" + ("" if left is None else f", about {_duration(left)} to go")

    def _print_line(self, now: float) -> None:
        self._last_line = now
        detail = f" · {self._detail}" if self._detail else ""
        line = f"{self.title}: {self.done}/{self.total} {self._times_at(now)}{detail}"
        print(line, file=sys.stderr, flush=True)


class _Times(ProgressColumn):
    """The times of a line as a column of its bar."""

    def __init__(self, line: ProgressLine) -> None:
        super().__init__()
        self._line = line

    def render(self, task: Task) -> Text:  # noqa: ARG002  # the line knows its own times
        return Text(self._line.times)


def _duration(seconds: float) -> str:
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 119.5 * 60 else f"{seconds / 3600:.1f} h"
