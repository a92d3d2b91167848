"""Carries out an item in a process of its own, so that a crash, a hang or a broken CUDA context ends no other."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from typing import Any

from gpu.items import Item, Place, Skipped

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"
SECONDS_TO_END = 10.0
MOST_CHARACTERS = 2000


@dataclass(frozen=True)
class Result:
    """What became of an item.

    Attributes:
        name: of the item.
        outcome: `PASSED`, `FAILED` or `SKIPPED`.
        reason: why it failed or was skipped.
        figures: by name.
        seconds: that it took.
    """

    name: str
    outcome: str
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def carry_out(item: Item, place: Place, most_seconds: float) -> Result:
    """The result of an item; one that takes longer has failed, and all processes that it started are ended."""
    # Forks of a process that has imported torch and computed nothing start at once, and may use CUDA.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["torch"])
    receiving, sending = processes.Pipe(duplex=False)
    process = processes.Process(target=_work, args=(item.function, place, sending))
    started = time.monotonic()
    process.start()
    sending.close()
    try:
        if receiving.poll(most_seconds):
            answer = json.loads(receiving.recv_bytes())
        else:
            answer = {"outcome": FAILED, "reason": f"not finished after {most_seconds:.0f} s"}
    except EOFError:
        process.join(SECONDS_TO_END)
        answer = {"outcome": FAILED, "reason": f"its process ended with status {process.exitcode}"}
    seconds = time.monotonic() - started
    process.join(SECONDS_TO_END if answer["outcome"] != FAILED else 0)
    process.kill()
    _end_group(process.pid)
    process.join()
    return Result(item.name, seconds=round(seconds, 2), **answer)


def _end_group(group: int | None) -> None:
    """Ends what an item left running."""
    try:
        if group:
            os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _work(function: str, place: Place, sending: Connection) -> None:
    os.setsid()  # a group of its own, with all processes that it starts
    os.dup2(2, 1)  # what is printed meanwhile is no part of the table
    try:
        answer: dict[str, Any] = {"outcome": PASSED, "figures": resolve_name(function)(place)}
    except Skipped as reason:
        answer = {"outcome": SKIPPED, "reason": str(reason)}
    except Exception as error:  # whatever it is, the other items go on
        traceback.print_exc()
        answer = {"outcome": FAILED, "reason": f"{type(error).__name__}: {error}".strip()[:MOST_CHARACTERS]}
    sending.send_bytes(json.dumps(answer).encode())
    sending.close()


def as_record(result: Result) -> dict[str, Any]:
    """A result for the JSON."""
    return asdict(result)
