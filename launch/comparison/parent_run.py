"""The plan as the parent of its runs in MLflow: one run that theirs appear beneath, also when the plan goes on."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launch.comparison.plan import Plan
from launch.comparison.rows import ROWS_FOLDER, Row
from launch.comparison.running import is_done
from pretrain.training.tracking import LOCK_NAME, PROJECT_NAME, SQLITE_WAIT_SECONDS, TRACKING_NAME
from shards.atomic_files import write_text_atomically


class ParentRun:
    """The plan's run in MLflow, under the id in `DIR/rows/tracking.json`; where no row is tracked by MLflow, nothing.

    By that file the rows' runs find the store too (see `pretrain.training.tracking.Tracking`): `DIR/mlflow.db`, or what
    MLFLOW_TRACKING_URI says.

    Args:
        plan: its name is the run's.
        rows: of the plan.
        out: the plan's folder.
        plan_file: kept with the run.
    """

    def __init__(self, plan: Plan, rows: Sequence[Row], out: Path, plan_file: Path) -> None:
        self._is_tracked = any(row.config.tracker == "mlflow" for row in rows)
        self._name = plan.name
        self._rows = rows
        self._plan_file = plan_file
        self._out = out.resolve()
        self._record = self._out / ROWS_FOLDER / TRACKING_NAME
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self._uri = given or f"sqlite:///{self._out / 'mlflow.db'}?timeout={SQLITE_WAIT_SECONDS}"
        self._artifacts = None if given else (self._out / "mlartifacts").as_uri()

    def begin(self) -> dict[str, str]:
        """Creates the run, or continues it.

        Returns:
            Environment variables by which Accelerate's tracker files a run beneath this one.
        """
        if not self._is_tracked:
            return {}
        self._record.parent.mkdir(parents=True, exist_ok=True)
        client = _client(self._uri)
        # Jobs of an array that begin together make the store, and the run, one after another.
        with (self._out / LOCK_NAME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run_id = self._known(client) or self._new(client)
            content = {"tracker": "mlflow", "run_id": run_id, "tracking_uri": self._uri}
            write_text_atomically(self._record, json.dumps(content, indent=1) + "\n")
        client.update_run(run_id, status="RUNNING")
        client.log_artifact(run_id, str(self._plan_file))
        return {"MLFLOW_TAGS": json.dumps({"mlflow.parentRunId": run_id})}

    @contextmanager
    def watching(self) -> Iterator[dict[str, str]]:
        """Gives what `begin` gives, and says afterwards how it ended."""
        environment = self.begin()
        try:
            yield environment
        except BaseException:
            self._end("KILLED")
            raise
        self.end()

    def end(self) -> None:
        """Says how it ended, by the rows that are done; nothing where it never began."""
        self._end("FINISHED" if all(map(is_done, self._rows)) else "FAILED")

    def _end(self, status: str) -> None:
        if self._is_tracked and self._record.is_file():
            client = _client(self._uri)
            run_id = self._known(client)
            if run_id is not None:
                client.set_terminated(run_id, status)

    def _known(self, client: Any) -> str | None:
        """The id of a former start, if the store knows it."""
        import mlflow

        if not self._record.is_file():
            return None
        run_id = json.loads(self._record.read_text(encoding="utf-8"))["run_id"]
        try:
            return str(client.get_run(run_id).info.run_id)
        except mlflow.exceptions.MlflowException:
            return None

    def _new(self, client: Any) -> str:
        experiment = client.get_experiment_by_name(PROJECT_NAME)
        number = (
            experiment.experiment_id
            if experiment is not None
            else client.create_experiment(PROJECT_NAME, artifact_location=self._artifacts)
        )
        return str(client.create_run(number, run_name=self._name).info.run_id)


def _client(uri: str) -> Any:
    import mlflow

    # Creating the SQLite store logs every migration of its schema.
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow.MlflowClient(tracking_uri=uri)
