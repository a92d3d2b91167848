"""Preemption: at a scheduler's signal the run saves a checkpoint at its next step and ends, to be resumed."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from pretrain import distributed

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What Slurm and other schedulers send before they stop a job."""

EXIT_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command continues later."""

CHECK_EVERY_STEPS = 10
"""Several processes ask each other only so often, for asking waits for all of them."""


class PreemptionWatch:
    """Notes the scheduler's signals while it is entered."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._former: dict[int, object] = {}

    def __enter__(self) -> PreemptionWatch:
        for number in SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def is_requested(self, step: int) -> bool:
        """Whether any process was preempted; the same answer on all of them, at most ten steps late."""
        if distributed.num_processes() > 1 and step % CHECK_EVERY_STEPS:
            return False
        return distributed.on_any_process(self._received is not None)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._received = number


def ignore_signals() -> None:
    """Keeps a helper process at its work: the signal is for the process that saves."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
