"""The signals that schedulers send before they stop a job."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What Slurm and others send; they are meant for the process that saves."""


def ignore_signals() -> None:
    """Makes a helper process ignore them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
