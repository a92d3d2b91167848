"""Loader processes, forked from a server that has imported what they need: they share its memory and start at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker

START_METHOD = "forkserver"

PRELOADED = (
    *("pretrain.data.server_signals", "pretrain.data.batches", "pretrain.data.augmentations"),
    "pretrain.features.inputs",
)
"""What the server of a training imports, the signals first. It computes nothing, so no thread is lost in a fork."""


def start_server(preloaded: Sequence[str] = PRELOADED) -> None:
    """Starts the server of this process's loaders unless it runs already; it imports while this process goes on.

    It ends with this process and the loaders, which end with this process (`shards.child_processes`).

    Args:
        preloaded: the modules that it imports.
    """
    multiprocessing.set_forkserver_preload(list(preloaded))
    # As for this process, whose path begins with its script: no module is taken from the current folder.
    former = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    # Ctrl-C is for this process: the server, which would print a traceback, and its loaders inherit that it is blocked.
    # The tracker is started first, because its start unblocks it again.
    resource_tracker.ensure_running()
    former_mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former_mask)
        os.environ.pop("PYTHONSAFEPATH")
        if former is not None:
            os.environ["PYTHONSAFEPATH"] = former
