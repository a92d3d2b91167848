"""The tracker `mlflow`: by default `mlflow.db` (SQLite, no server) and `mlartifacts/` next to the run folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pretrain.trackers.mlflow_store import URI_VARIABLE, Store, quiet_mlflow, sqlite_path
from pretrain.trackers.tracker import PROJECT_NAME, TrackedRun, Tracker

LONGEST_SETTING = 500
"""In characters; newer versions of MLflow allow more."""
SETTINGS_PER_CALL = 100


class MlflowTracker(Tracker):
    """Records a run of the experiment `earshot` in the store that MLFLOW_TRACKING_URI names.

    Like Accelerate's tracker, it respects MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID, MLFLOW_NESTED_RUN and MLFLOW_TAGS.
    """

    package = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        self._store = Store.of(run.store_folder)
        with self._store.opening(run.store_folder) as mlflow:
            self._mlflow = mlflow
            self._use_store(mlflow)
            earlier = os.environ.get("MLFLOW_RUN_ID", run.run_id)
            run_id = self._store.known(mlflow, earlier)
            if run_id != earlier:
                sentence = f"warning: {self._store} has no run {earlier}; continuing as a new run"
                print(sentence, file=sys.stderr, flush=True)
            active = mlflow.start_run(
                run_id=run_id,
                experiment_id=self._store.experiment(
                    mlflow.MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT_NAME)
                ),
                run_name=None if run_id else run.name,
                nested=os.environ.get("MLFLOW_NESTED_RUN", "false").lower() in ("1", "true", "yes", "on"),
                tags=json.loads(os.environ.get("MLFLOW_TAGS", "null")),
            )
            self.run_id = str(active.info.run_id)
            if run_id is None:
                self._log_settings(run.settings)

    @property
    def record(self) -> dict[str, Any]:
        """The store."""
        return {"tracking_uri": self._store.uri}

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Records metrics by path, in one call."""
        self._mlflow.log_metrics(values, step=step)

    def log_file(self, path: Path) -> None:
        """Saves a file as an artifact of the run."""
        self._mlflow.log_artifact(str(path))

    def finish(self, *, failed: bool) -> None:
        """Closes the run as FINISHED or FAILED."""
        self._mlflow.end_run("FAILED" if failed else "FINISHED")

    @classmethod
    def attach(cls, record: dict[str, Any], report: Path, metrics: dict[str, float]) -> bool:
        """Adds a report and metrics to a run and returns whether it did; its SQLite store may have been moved."""
        path = sqlite_path(record["tracking_uri"])
        if not record.get("run_id") or (path and not path.is_file()):
            return False
        client = quiet_mlflow().MlflowClient(tracking_uri=record["tracking_uri"])
        client.log_artifact(record["run_id"], str(report), artifact_path="retrieval")
        for name, value in metrics.items():
            client.log_metric(record["run_id"], name, value)
        return True

    def _use_store(self, mlflow: Any) -> None:
        given = os.environ.get(URI_VARIABLE)
        mlflow.set_tracking_uri(self._store.uri)
        if given is None:
            # MLflow has set the variable as well, and the next run of this process may use another store.
            os.environ.pop(URI_VARIABLE, None)

    def _log_settings(self, settings: dict[str, Any]) -> None:
        short = [(name, value) for name, value in settings.items() if len(str(value)) <= LONGEST_SETTING]
        for start in range(0, len(short), SETTINGS_PER_CALL):
            self._mlflow.log_params(dict(short[start : start + SETTINGS_PER_CALL]))
