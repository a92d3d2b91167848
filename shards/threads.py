"""OpenMP's threads sleep while they wait, so that training beside other processes keeps its share of the cores."""

from __future__ import annotations

import os


def let_waiting_threads_sleep() -> None:
    """Sets OpenMP's wait policy for this process and its children, unless the user has; call it before torch's import.

    GNU OpenMP's threads spin at the end of every parallel loop. Beside a busy process that takes the core from the
    very thread they wait for.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
