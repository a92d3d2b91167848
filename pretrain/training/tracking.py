"""Experiment trackers through Accelerate: settings, metrics and artifacts; a resumed run goes on under its id."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from pretrain import distributed
from pretrain.settings.files import flatten
from pretrain.settings.training import RunSettings

PROJECT_NAME = "earshot"
TRACKING_NAME = "tracking.json"
LOCK_NAME = ".mlflow.lock"
SQLITE_WAIT_SECONDS = 120
"""How long a run waits for others that write to the same SQLite store."""


class Tracking:
    """What a run reports to beside `metrics.jsonl`, on the first process; `none` reports nowhere.

    MLflow's default store is `mlflow.db` (SQLite, no server) with `mlartifacts/`, beside the run folder;
    the environment variable MLFLOW_TRACKING_URI overrides it. Runs within the folder of a tracked one, as a search
    makes them, go to its store under their path.
    """

    def __init__(self, accelerator: Accelerator, settings: RunSettings, run_folder: Path) -> None:
        self._accelerator = accelerator
        self._kind = settings.tracker
        self._folder = run_folder
        if self._kind == "none":
            return
        record = _read_record(run_folder)
        run_id = record.get("run_id") if record.get("tracker") == self._kind else None
        options: dict[str, dict[str, Any]] = {}
        if self._kind == "mlflow":
            if distributed.is_first():
                options["mlflow"] = _mlflow_options(run_folder) | {"run_id": run_id}
        elif self._kind == "wandb":
            options["wandb"] = {"name": _run_name(run_folder), "dir": str(run_folder), "id": run_id, "resume": "allow"}
        with _one_at_a_time(run_folder) if self._kind == "mlflow" else nullcontext():
            accelerator.init_trackers(PROJECT_NAME, config=None if run_id else flatten(settings), init_kwargs=options)
        if distributed.is_first():
            _write_record(run_folder, {"tracker": self._kind, "run_id": self._run_id(), **_mlflow_place(self._kind)})

    def log(self, values: dict[str, Any], *, step: int) -> None:
        """Reports metrics by path, such as `val/image_to_sound/recall_at_10`; values that are None are left out."""
        if self._kind != "none":
            self._accelerator.log({name: value for name, value in values.items() if value is not None}, step=step)

    def log_file(self, path: Path) -> None:
        """Keeps a file with the run, where the tracker keeps files."""
        if self._kind == "mlflow" and distributed.is_first():
            import mlflow

            mlflow.log_artifact(str(path))
        elif self._kind == "wandb" and distributed.is_first():
            self._accelerator.get_tracker("wandb", unwrap=True).save(str(path), base_path=str(path.parent))

    def finish(self, *, failed: bool = False) -> None:
        """Closes the run with the tracker."""
        if self._kind == "none":
            return
        if failed and self._kind == "mlflow" and distributed.is_first():
            import mlflow

            mlflow.end_run("FAILED")
        else:
            # Accelerate's end_training would part the processes too, which may have more to do together.
            for tracker in self._accelerator.trackers:
                tracker.finish()
        # Or the next run would start them again.
        self._accelerator.trackers.clear()

    def _run_id(self) -> str | None:
        if self._kind == "mlflow":
            return str(self._accelerator.get_tracker("mlflow", unwrap=True).info.run_id)
        if self._kind == "wandb":
            return str(self._accelerator.get_tracker("wandb", unwrap=True).id)
        return None


def attach_report(run_folder: Path, report: Path, metrics: dict[str, Any]) -> bool:
    """Adds an evaluation's report and figures to the MLflow run of a run folder.

    Args:
        run_folder: a run folder; one without an MLflow run is left alone.
        report: a file, kept as an artifact.
        metrics: by path, such as `test/image_to_sound/recall_at_10`; values that are None are left out.

    Returns:
        Whether there was an MLflow run to add to; not where its store has been moved away.
    """
    record = _read_record(run_folder)
    if record.get("tracker") != "mlflow" or not record.get("run_id"):
        return False
    store = record["tracking_uri"]
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///").split("?")[0]).is_file():
        return False
    client = _quiet_mlflow().MlflowClient(tracking_uri=record["tracking_uri"])
    client.log_artifact(record["run_id"], str(report), artifact_path="retrieval")
    for name, value in metrics.items():
        if value is not None:
            client.log_metric(record["run_id"], name, value)
    return True


def _mlflow_options(run_folder: Path) -> dict[str, Any]:
    mlflow = _quiet_mlflow()
    beside, name = _outer_run(run_folder).parent, _run_name(run_folder)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{beside / 'mlflow.db'}?timeout={SQLITE_WAIT_SECONDS}")
        return {"run_name": name, "logging_dir": (beside / "mlartifacts").as_uri()}
    return {"run_name": name, "logging_dir": None}


@contextmanager
def _one_at_a_time(run_folder: Path) -> Iterator[None]:
    """Runs that begin at the same moment, as an array of jobs does, make the store one after another."""
    if not distributed.is_first():
        yield
        return
    with (_outer_run(run_folder).parent / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _outer_run(run_folder: Path) -> Path:
    """The outermost tracked run that a run folder lies in; itself where it lies in none."""
    run_folder = run_folder.resolve()
    outer = [folder for folder in run_folder.parents if (folder / TRACKING_NAME).is_file()]
    return outer[-1] if outer else run_folder


def _run_name(run_folder: Path) -> str:
    return str(run_folder.resolve().relative_to(_outer_run(run_folder).parent))


def _quiet_mlflow() -> Any:
    import mlflow

    # Creating the SQLite store logs every migration of its schema.
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _mlflow_place(kind: str) -> dict[str, str]:
    if kind != "mlflow":
        return {}
    import mlflow

    return {"tracking_uri": mlflow.get_tracking_uri()}


def _read_record(run_folder: Path) -> dict[str, Any]:
    path = run_folder / TRACKING_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write_record(run_folder: Path, record: dict[str, Any]) -> None:
    (run_folder / TRACKING_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
