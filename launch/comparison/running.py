"""Runs rows one after another: each step as a separate command, with its output and failures in the row's log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from launch.comparison.outcomes import FAILED_NAME
from launch.comparison.plan import Plan
from launch.comparison.rows import Row
from launch.comparison.steps import Step, steps_of, write_row_settings
from shards.atomic_files import write_text_atomically
from shards.errors import UserError
from shards.locks import lock

LOG_NAME = "log.txt"
ERROR_PREFIX = "error: "
"""Prefix of the message with which Earshot's commands report a user error."""
ASK_AGAIN_SECONDS = 2.0
"""Interval at which the signal to save is repeated, because a trainer that is still starting ignores it."""


def is_done(row: Row) -> bool:
    """Whether the training and all benchmarks of a row are finished."""
    return all(step.is_done() for step in steps_of(row))


def run_rows(
    plan: Plan, rows: Sequence[Row], environment: Mapping[str, str], after_row: Callable[[], object]
) -> list[Row]:
    """Runs the unfinished rows one after another.

    Args:
        plan: the rows' plan.
        rows: the rows, in order.
        environment: additional environment variables for the commands.
        after_row: called after each row.

    Returns:
        The rows that failed.
    """
    missing = [row for row in rows if not is_done(row)]
    if len(missing) < len(rows):
        print(f"{len(rows) - len(missing)} of {len(rows)} rows are already done", flush=True)
    failed: list[Row] = []
    started = time.monotonic()
    for number, row in enumerate(missing, 1):
        try:
            failures = run_row(row, plan.launch_file, environment)
        except BaseException:
            print(flush=True)  # ends the row's line
            raise
        if failures:
            failed.append(row)
        left = (len(missing) - number) * (time.monotonic() - started) / number
        print(f"; about {_duration(left)} to go" if number < len(missing) else "", flush=True)
        for failure in failures:
            print(f"  failed: {failure}; see {row.folder / LOG_NAME}", flush=True)
        after_row()
    return failed


def run_row(row: Row, launch_file: Path, environment: Mapping[str, str]) -> list[str]:
    """Runs the unfinished steps of a row, and prints its progress on one line, without a newline at the end.

    Returns:
        A message for each failed step; benchmarks are skipped if training failed.
    """
    failures = []
    print(f"{row.name}:", end="", flush=True)
    row.folder.mkdir(parents=True, exist_ok=True)
    with _open_log(row) as log:
        write_row_settings(row)
        (row.folder / FAILED_NAME).unlink(missing_ok=True)
        for step in steps_of(row):
            if step.is_done():
                continue
            print(f" {step.label}…", end="", flush=True)
            started = time.monotonic()
            failure = _run_step(step, launch_file, environment, log)
            print(f" {time.monotonic() - started:.0f} s", end="", flush=True)
            if failure is None:
                continue
            failures.append(f"{step.label}: {failure}")
            write_text_atomically(row.folder / FAILED_NAME, "\n".join(failures) + "\n")
            if step.label == "training":
                break
    return failures


@contextmanager
def _open_log(row: Row) -> Iterator[BinaryIO]:
    """Opens the row's log, and locks it as long as this process or any of the row's commands is running.

    The commands inherit the lock. So this waits for another machine that runs the row, and for a command that is still
    running after its parent was killed.
    """
    with (row.folder / LOG_NAME).open("ab", buffering=0) as log:
        try:
            lock(log)
        except BlockingIOError:
            print(" waiting for another process that is running this row…", end="", flush=True)
            lock(log, wait=True)
        yield log


def _run_step(step: Step, launch_file: Path, environment: Mapping[str, str], log: BinaryIO) -> str | None:
    """Runs a step; returns the error message, None on success."""
    try:
        command = step.command(launch_file)
    except UserError as error:
        return str(error)
    log.write(f"$ {' '.join(command)}\n".encode())
    begins = log.seek(0, os.SEEK_END)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        # Shielded from Ctrl-C, which would end a trainer before it has saved.
        start_new_session=True,
        preexec_fn=_ignore_requests,
    )
    try:
        status = process.wait()
    except BaseException:
        _stop(process, step)
        raise
    if status == 0 and step.is_done():
        return None
    return _last_error(Path(log.name), begins) or f"ended with status {status} and no message"


def _ignore_requests() -> None:
    """Makes the launcher ignore signals meant for its trainers, which install their own handlers."""
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _stop(process: subprocess.Popen[bytes], step: Step) -> None:
    """Ends a command and its children, after asking it to save if it can; a second Ctrl-C kills them at once."""
    try:
        while step.saves and process.poll() is None:
            os.killpg(process.pid, signal.SIGUSR1)
            with suppress(subprocess.TimeoutExpired):
                process.wait(ASK_AGAIN_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_error(log: Path, begins: int) -> str:
    """The last error message of a failed command, from its log after offset `begins`."""
    with log.open("rb") as file:
        file.seek(begins)
        lines = [line.strip() for line in file.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix(ERROR_PREFIX) for line in lines if line.startswith(ERROR_PREFIX)]
    return (errors or lines or [""])[-1]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
