"""Guards a run's tracker: a failure at the start ends the run with one sentence, a later one is a warning."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain import distributed
from pretrain.settings.files import flatten
from pretrain.settings.training import RunSettings
from pretrain.trackers import TRACKERS
from pretrain.trackers.tracker import TrackedRun
from shards.atomic_files import write_json
from shards.errors import UserError, first_line
from shards.records import read_json

TRACKING_NAME = "tracking.json"
PAUSE_FACTOR = 10
"""After a call that failed within s seconds, calls pause for 10 s, so failures cost at most a tenth of the run's
time."""


class Tracking:
    """Records a run with its tracker, in addition to `metrics.jsonl`, on the first process.

    A resumed run continues under the id in `RUN/tracking.json`. Runs within the folder of a tracked one, as a search
    makes them, go to its store under their path.

    Args:
        settings: of the run; `tracker` says what records it.
        run_folder: of the run.

    Raises:
        UserError: the tracker can't start.
    """

    def __init__(self, settings: RunSettings, run_folder: Path) -> None:
        self._name = settings.tracker
        self._folder = run_folder
        self._silent_until = 0.0
        self._has_failed = False
        self._tracker = None
        if not distributed.is_first():
            return
        former = read_record(run_folder)
        store_folder = _outer_run(run_folder).parent
        run = TrackedRun(
            folder=run_folder,
            store_folder=store_folder,
            name=str(run_folder.resolve().relative_to(store_folder)),
            settings=flatten(settings),
            run_id=former.get("run_id") if former.get("tracker") == self._name else None,
        )
        try:
            self._tracker = TRACKERS[self._name](run)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"tracker {self._name} can't start ({first_line(error)}); choose another --tracker, such as none"
            ) from error
        if self._name != "none":
            record = {"tracker": self._name, "run_id": self._tracker.run_id, **self._tracker.record}
            write_json(run_folder / TRACKING_NAME, record)

    def log(self, values: dict[str, Any], *, step: int) -> None:
        """Records metrics by path, such as `val/image_to_sound/recall_at_10`; values that are None are left out."""
        if self._tracker and time.monotonic() >= self._silent_until:
            self._try(self._tracker.log, _given(values), step=step)

    def log_file(self, path: Path) -> None:
        """Keeps a file with the run, where the tracker keeps files."""
        if self._tracker and time.monotonic() >= self._silent_until:
            self._try(self._tracker.log_file, path)

    def finish(self, *, failed: bool = False) -> None:
        """Closes the run with the tracker."""
        if self._tracker:
            self._try(self._tracker.finish, failed=failed)

    def _try(self, call: Callable[..., None], *values: Any, **options: Any) -> None:
        """Calls the tracker; the first error is reported as a warning, and the run continues."""
        started = time.monotonic()
        try:
            call(*values, **options)
        except Exception as error:
            now = time.monotonic()
            self._silent_until = now + PAUSE_FACTOR * (now - started)
            if not self._has_failed:
                _warn(
                    f"tracker {self._name} failed ({first_line(error)}); the run goes on, and what is not recorded "
                    f"there stays in {self._folder / 'metrics.jsonl'}"
                )
            self._has_failed = True


def attach_report(run_folder: Path, report: Path, metrics: dict[str, Any]) -> bool:
    """Adds an evaluation's report and figures to the tracked run of a run folder; a failure is a warning.

    Args:
        run_folder: a run folder; nothing is done if its tracker takes no reports.
        report: a file, kept as an artifact.
        metrics: by path, such as `test/image_to_sound/recall_at_10`; values that are None are left out.

    Returns:
        Whether they were added.
    """
    try:
        record = read_record(run_folder)
        # Outside code that a folder names is not run: the folder may come from others.
        name = record.get("tracker")
        return name in TRACKERS and TRACKERS[str(name)].attach(record, report, _given(metrics))
    except Exception as error:
        _warn(f"the report is not added to the tracked run of {run_folder} ({first_line(error)}); it is in {report}")
        return False


def read_record(run_folder: Path) -> dict[str, Any]:
    """What `tracking.json` of a run folder holds; nothing where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = run_folder / TRACKING_NAME
    record = read_json(path, "remove it to record a new run") if path.is_file() else {}
    if not isinstance(record, dict):
        raise UserError(f"{path} must hold a JSON object, got {record!r}; remove it to record a new run")
    return record


def _given(values: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


def _outer_run(run_folder: Path) -> Path:
    """The outermost tracked run that contains a run folder, or the folder itself."""
    run_folder = run_folder.resolve()
    outer = [folder for folder in run_folder.parents if (folder / TRACKING_NAME).is_file()]
    return outer[-1] if outer else run_folder
