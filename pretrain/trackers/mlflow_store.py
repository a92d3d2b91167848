"""MLflow's store: its location, its creation under a lock, and clear errors if it can't be used."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from pretrain.trackers.mlflow_view import missing_tags
from shards.errors import UserError, disk_refusal, first_line, without_passwords
from shards.locks import lock

URI_VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_NAME = ".mlflow.lock"
SQLITE = "sqlite:///"
SQLITE_WAIT_SECONDS = 120
"""How long a run waits for other runs that write to the same SQLite store."""
SERVER_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Used unless the user sets them: with MLflow's own defaults, each call to an unreachable server takes minutes."""


@dataclass(frozen=True)
class Store:
    """Where runs are recorded.

    Attributes:
        uri: MLflow's tracking URI.
        artifacts: the folder for artifacts, as a URI; None if a server decides.
    """

    uri: str
    artifacts: str | None

    @classmethod
    def of(cls, folder: Path) -> Store:
        """Returns the store in MLFLOW_TRACKING_URI or, if that is unset, `mlflow.db` and `mlartifacts/` in `folder`."""
        given = os.environ.get(URI_VARIABLE)
        if given:
            return cls(given, None)
        folder = folder.resolve()
        uri = f"{SQLITE}{folder / 'mlflow.db'}?timeout={SQLITE_WAIT_SECONDS}"
        return cls(uri, (folder / "mlartifacts").as_uri())

    def check(self) -> None:
        """Checks that an SQLite store is writable: MLflow itself would retry for two minutes before giving up.

        Raises:
            OSError, sqlite3.Error: it can't be written.
        """
        if path := sqlite_path(self.uri):
            path.parent.mkdir(parents=True, exist_ok=True)
            _, _, options = self.uri.partition("?")
            wait = float(parse_qs(options).get("timeout", ["5"])[0])
            with closing(sqlite3.connect(path, timeout=wait, isolation_level=None)) as store:
                store.execute("begin immediate")
                store.execute("rollback")

    @contextmanager
    def opening(self, folder: Path) -> Iterator[Any]:
        """Yields MLflow's module under a lock that serialises runs opening the store; failures become a `UserError`.

        Args:
            folder: the folder that all runs of one store share.

        Raises:
            UserError: anything failed inside the context; names the store and the remedy.
            OSError: the disk refuses a file; see `shards.errors.disk_refusal`.
        """
        try:
            with (folder / LOCK_NAME).open("w") as file:
                lock(file, wait=True)
                self.check()
                yield quiet_mlflow()
        except Exception as error:
            if isinstance(error, OSError) and disk_refusal(error):
                raise
            raise UserError(
                f"tracker mlflow can't use the store {self}: {first_line(error)}; set {URI_VARIABLE} to another "
                "store, or choose another --tracker"
            ) from error

    def known(self, client: Any, run_id: str | None) -> str | None:
        """Returns the id of an earlier run, or None if the store does not have it.

        Args:
            client: MLflow's module or a client of this store.
            run_id: the id to look up; None: there is no earlier run.
        """
        if not run_id:
            return None
        try:
            return str(client.get_run(run_id).info.run_id)
        except quiet_mlflow().exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def experiment(self, client: Any, name: str) -> str:
        """Returns the id of the experiment with this name, creating it if it does not exist.

        It gets the tags by which MLflow's page shows it as model training (see `pretrain.trackers.mlflow_view`).

        Args:
            client: a client of this store.
            name: name of the experiment.
        """
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return str(client.create_experiment(name, artifact_location=self.artifacts, tags=missing_tags({})))
        experiment_id = str(experiment.experiment_id)
        try:
            for tag, value in missing_tags(experiment.tags).items():
                client.set_experiment_tag(experiment_id, tag, value)
        except quiet_mlflow().exceptions.MlflowException as error:
            # Runs can be recorded in an experiment that belongs to others, but its tags can't be set.
            sentence = f"warning: {self} does not take the tags that show {name} as model training: {first_line(error)}"
            print(sentence, file=sys.stderr, flush=True)
        return experiment_id

    def __str__(self) -> str:
        return without_passwords(self.uri)


def sqlite_path(uri: str) -> Path | None:
    """Returns the file of an SQLite store, None for other stores."""
    return Path(uri.removeprefix(SQLITE).split("?")[0]) if uri.startswith(SQLITE) else None


def quiet_mlflow() -> Any:
    """Returns MLflow's module with Earshot's server defaults and its logs silenced; failures are raised anyway."""
    for name, value in SERVER_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow
