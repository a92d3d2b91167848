"""The interface of trackers, which may raise anything: `pretrain.training.tracking` guards every call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

PROJECT_NAME = "earshot"


@dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker records.

    Attributes:
        folder: the run folder.
        store_folder: where a tracker without a server keeps its store, shared with the runs next to this one.
        name: name of the run, relative to the store's folder.
        settings: plain values by dotted name.
        run_id: id under which this run was recorded before it was resumed; None for a new run.
    """

    folder: Path
    store_folder: Path
    name: str
    settings: dict[str, Any]
    run_id: str | None = None


class Tracker(ABC):
    """Records one run from construction to `finish`, on the first process only.

    Any method may raise whatever its library raises: before the first step that stops the run, later it is a warning.

    Args:
        run: the run to record.
    """

    package: ClassVar[str | None] = None
    """The optional package that it needs, None if there is none."""

    run_id: str | None = None
    """The id that a resumed run continues under."""

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @property
    def record(self) -> dict[str, Any]:
        """What tracking.json stores in addition to the tracker's name and the run's id."""
        return {}

    @abstractmethod
    def log(self, values: dict[str, float], *, step: int) -> None:
        """Records metrics by path, such as `val/image_to_sound/recall_at_10`."""

    @abstractmethod
    def log_file(self, path: Path) -> None:
        """Saves a file with the run, if the tracker stores files."""

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """Closes the run."""

    @classmethod
    def attach(cls, record: dict[str, Any], report: Path, metrics: dict[str, float]) -> bool:  # noqa: ARG003
        """Adds a report and metrics to a finished run, and returns whether it could.

        Args:
            record: the contents of tracking.json.
            report: the report's file.
            metrics: metrics by path.
        """
        return False
