"""Preemption: on a scheduler's signal the run saves a checkpoint at its next step and exits, to be resumed later."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType, TracebackType

from pretrain import distributed
from shards.child_processes import SIGNALS

EXIT_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, and the run can be resumed later."""

LAUNCHED_BY = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")
"""Variables that torchrun and `accelerate launch` set for the processes they start."""

CHECK_EVERY_STEPS = 10
"""Several processes exchange their flags only this often, because each exchange waits for all of them."""

_PR_SET_PDEATHSIG = 1


class PreemptionWatch:
    """Context manager that records the scheduler's signals; the death of the launcher counts as one."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._former: dict[int, object] = {}

    def __enter__(self) -> PreemptionWatch:
        for number in SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        if any(name in os.environ for name in LAUNCHED_BY):
            _end_with_the_parent()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def is_requested(self, step: int) -> bool:
        """Returns whether any process was preempted; the same answer on every process, at most ten steps late."""
        if distributed.num_processes() > 1 and step % CHECK_EVERY_STEPS:
            return False
        return distributed.on_any_process(self._received is not None)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._received = number


def _end_with_the_parent() -> None:
    """Has the system send SIGTERM to this process when its parent is killed, which can't tell it so itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
