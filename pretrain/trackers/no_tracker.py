"""The tracker `none`: the run is recorded only in metrics.jsonl."""

from __future__ import annotations

from pathlib import Path

from pretrain.trackers.tracker import TrackedRun, Tracker


class NoTracker(Tracker):
    """Records nothing."""

    def __init__(self, run: TrackedRun) -> None:
        pass

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Does nothing."""

    def log_file(self, path: Path) -> None:
        """Does nothing."""

    def finish(self, *, failed: bool) -> None:
        """Does nothing."""
