"""Items a second and the share of time spent waiting for data."""

from __future__ import annotations

import time


class Rate:
    """What has been trained since the last line was logged, and how fast."""

    def __init__(self) -> None:
        self.last_per_second = 0.0
        self.restart()

    def restart(self) -> None:
        """Counts from here."""
        self.items = 0
        self.waited_seconds = 0.0
        self._since = time.monotonic()

    @property
    def per_second(self) -> float:
        """Items a second."""
        self.last_per_second = self.items / max(1e-9, time.monotonic() - self._since)
        return self.last_per_second

    @property
    def waiting_share(self) -> float:
        """Share of the time that was spent waiting for the loader, in [0, 1]."""
        return self.waited_seconds / max(1e-9, time.monotonic() - self._since)
