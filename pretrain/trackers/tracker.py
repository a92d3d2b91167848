"""What a tracker does for a run. It may raise anything: `pretrain.training.tracking` guards every call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

PROJECT_NAME = "earshot"


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker is made for.

    Attributes:
        folder: the run folder.
        store_folder: where a tracker without a server keeps its store, which the runs beside this one share.
        name: of the run, relative to the store's folder.
        settings: by dotted name, plain values.
        run_id: under which an earlier start of this run was recorded; None for a new run.
    """

    folder: Path
    store_folder: Path
    name: str
    settings: dict[str, Any]
    run_id: str | None = None


class Tracker(ABC):
    """Records one run from its construction to `finish`, on the first process alone.

    Any method may raise whatever its library does: before the first step that refuses the run, later it is a warning.

    Args:
        run: what is recorded.
    """

    package: ClassVar[str | None] = None
    """The package that it needs and that may not be installed."""

    run_id: str | None = None
    """By which a resumed run continues."""

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @property
    def record(self) -> dict[str, Any]:
        """What tracking.json keeps beside the tracker's name and the run's id."""
        return {}

    @abstractmethod
    def log(self, values: dict[str, float], *, step: int) -> None:
        """Records metrics by path, such as `val/image_to_sound/recall_at_10`."""

    @abstractmethod
    def log_file(self, path: Path) -> None:
        """Keeps a file with the run, where the tracker keeps files."""

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """Closes the run."""

    @classmethod
    def attach(cls, record: dict[str, Any], report: Path, metrics: dict[str, float]) -> bool:  # noqa: ARG003
        """Adds a report and figures to a run that is over; whether that could be done.

        Args:
            record: what tracking.json holds.
            report: a file.
            metrics: by path.
        """
        return False
