"""Progress display: a bar in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shards.loudness import is_quiet, is_verbose

LOG_EVERY_SECONDS = 10.0
VERBOSE_EVERY_SECONDS = 1.0


class ProgressLine:
    """A progress bar in a terminal; elsewhere a plain line every ten seconds. Use it as a context manager.

    With `--quiet` it shows nothing but warnings, with `--verbose` it prints plain lines every second.

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
        self._started_with = done
        self._detail = ""
        self._shows_warnings = enabled
        self._enabled = enabled = enabled and not is_quiet()
        self._line_seconds = VERBOSE_EVERY_SECONDS if is_verbose() else LOG_EVERY_SECONDS
        self._started = self._last_line = time.monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if enabled and console.is_terminal and not plain and not is_verbose():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}"),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, detail="")

    def __enter__(self) -> ProgressLine:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._enabled and kind is None and (self.total or self.done):
            self._print_line()

    def advance(self, units: int = 1, detail: str = "") -> None:
        """Adds `units` to the count; `detail`, such as a loss or a rate, is shown beside the bar."""
        self.done += units
        self._detail = detail
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, detail=detail)
        elif self._enabled and time.monotonic() - self._last_line >= self._line_seconds:
            self._print_line()

    def write(self, message: str, *, warning: bool = False) -> None:
        """Prints a line above the bar; with `--quiet`, a warning alone."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False, markup=False)
        elif self._enabled or (warning and self._shows_warnings):
            print(message, file=sys.stderr, flush=True)

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        elapsed = self._last_line - self._started
        rate = (self.done - self._started_with) / elapsed if elapsed > 0 else 0.0
        left = f", {(self.total - self.done) / rate:.0f} s to go" if rate > 0 and self.done < self.total else ""
        detail = f" · {self._detail}" if self._detail else ""
        print(f"{self.title}: {self.done}/{self.total} in {elapsed:.0f} s{left}{detail}", file=sys.stderr, flush=True)
