"""The MLflow parent run of a plan, under which the runs of its rows are grouped, also after resuming."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launch.comparison.plan import Plan
from launch.comparison.rows import ROWS_FOLDER, Row
from launch.comparison.running import is_done
from pretrain.trackers.mlflow_store import Store, quiet_mlflow
from pretrain.trackers.tracker import PROJECT_NAME
from pretrain.training.tracking import TRACKING_NAME, read_record
from shards.atomic_files import write_json
from shards.errors import first_line


class ParentRun:
    """The plan's MLflow run, whose id is in `DIR/rows/tracking.json`; does nothing if no row uses MLflow.

    The rows' runs find the store through the same file (see `pretrain.training.tracking.Tracking`): `DIR/mlflow.db`, or
    MLFLOW_TRACKING_URI.

    Args:
        plan: the plan; its name becomes the run's name.
        rows: the plan's rows.
        out: the plan's folder.
        plan_file: stored with the run.
    """

    def __init__(self, plan: Plan, rows: Sequence[Row], out: Path, plan_file: Path) -> None:
        self._is_tracked = any(row.config.tracker == "mlflow" for row in rows)
        self._name = plan.name
        self._rows = rows
        self._plan_file = plan_file
        self._out = out.resolve()
        self._record = self._out / ROWS_FOLDER / TRACKING_NAME
        self._store = Store.of(self._out)

    def begin(self) -> dict[str, str]:
        """Creates the run, or continues it.

        Returns:
            Environment variables that make the tracker group a run under this one.

        Raises:
            UserError: the store can't be used.
        """
        if not self._is_tracked:
            return {}
        self._record.parent.mkdir(parents=True, exist_ok=True)
        # Jobs of an array that start together create the store and the run one after another.
        with self._store.opening(self._out) as mlflow:
            client = mlflow.MlflowClient(tracking_uri=self._store.uri)
            run_id = self._known(client)
            if run_id is None:
                experiment = self._store.experiment(client, PROJECT_NAME)
                run_id = str(client.create_run(experiment, run_name=self._name).info.run_id)
            write_json(self._record, {"tracker": "mlflow", "run_id": run_id, "tracking_uri": self._store.uri})
            client.update_run(run_id, status="RUNNING")
            client.log_metric(run_id, "rows/planned", len(self._rows))
            client.log_metric(run_id, "rows/done", sum(map(is_done, self._rows)))
            client.log_artifact(run_id, str(self._plan_file))
        return {"MLFLOW_TAGS": json.dumps({"mlflow.parentRunId": run_id})}

    @contextmanager
    def watching(self) -> Iterator[dict[str, str]]:
        """Yields the result of `begin`, and records at the end how the plan ended."""
        environment = self.begin()
        try:
            yield environment
        except BaseException:
            self._end("KILLED")
            raise
        self.end()

    def end(self) -> None:
        """Records how the plan ended, judged by its finished rows; does nothing if it never started."""
        self._end("FINISHED" if all(map(is_done, self._rows)) else "FAILED")

    def _end(self, status: str) -> None:
        if not (self._is_tracked and self._record.is_file()):
            return
        try:
            client = quiet_mlflow().MlflowClient(tracking_uri=self._store.uri)
            if run_id := self._known(client):
                client.log_metric(run_id, "rows/done", sum(map(is_done, self._rows)))
                client.set_terminated(run_id, status)
        except Exception as error:
            # Only a warning, because rows and tables are not affected.
            sentence = f"warning: {self._store} does not record how the plan ended: {first_line(error)}"
            print(sentence, file=sys.stderr, flush=True)

    def _known(self, client: Any) -> str | None:
        return self._store.known(client, read_record(self._record.parent).get("run_id"))
