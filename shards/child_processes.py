"""Processes that this one starts: they end when it is killed, at whatever moment, and leave signals to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What Slurm and other schedulers send before they stop a job; they are meant for the process that saves."""


def end_with_parent() -> None:
    """To be called in a child of `multiprocessing`: it ends as soon as its parent is gone, even if it already is.

    Queues don't show it, because each child holds both of their ends; nor does the parent's number, as torch's loaders
    compare it, to a child whose parent was killed while it was still starting.
    """
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def ignore_signals() -> None:
    """Makes a helper process ignore what schedulers send."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _wait_for_the_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
