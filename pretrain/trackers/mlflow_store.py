"""MLflow's store: where it lies, who may create it, and what stands in the way of using it, in a sentence."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from shards.errors import UserError, first_line, without_passwords

URI_VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_NAME = ".mlflow.lock"
SQLITE = "sqlite:///"
SQLITE_WAIT_SECONDS = 120
"""How long a run waits for others that write to the same SQLite store."""
SERVER_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Unless the user sets them: by MLflow's own, each call to a server that is gone takes minutes."""


@dataclass(frozen=True)
class Store:
    """Where runs are recorded.

    Attributes:
        uri: as MLflow takes it.
        artifacts: the folder of kept files, as a URI; None where a server decides.
    """

    uri: str
    artifacts: str | None

    @classmethod
    def of(cls, folder: Path) -> Store:
        """What MLFLOW_TRACKING_URI names; where it is not set, `mlflow.db` and `mlartifacts/` in `folder`."""
        given = os.environ.get(URI_VARIABLE)
        if given:
            return cls(given, None)
        folder = folder.resolve()
        uri = f"{SQLITE}{folder / 'mlflow.db'}?timeout={SQLITE_WAIT_SECONDS}"
        return cls(uri, (folder / "mlartifacts").as_uri())

    def check(self) -> None:
        """Tries to write to an SQLite store: MLflow itself would try again for two minutes before it gave up.

        Raises:
            OSError, sqlite3.Error: it can't be written to.
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
        """Gives MLflow's module, in turn with others that open the store at the same moment; a failure is a sentence.

        Args:
            folder: that the runs of one store share.

        Raises:
            UserError: whatever fails within; it names the store and the remedy.
        """
        try:
            with (folder / LOCK_NAME).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.check()
                yield quiet_mlflow()
        except Exception as error:
            raise UserError(
                f"tracker mlflow can't use the store {self}: {first_line(error)}; set {URI_VARIABLE} to another, or "
                "choose another --tracker"
            ) from error

    def known(self, client: Any, run_id: str | None) -> str | None:
        """The id of an earlier run, or None if the store does not have it.

        Args:
            client: of this store, MLflow's module or its client.
            run_id: None: none.
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
        """The id of the experiment with this name, which is created if it is missing."""
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(client.create_experiment(name, artifact_location=self.artifacts))

    def __str__(self) -> str:
        return without_passwords(self.uri)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store."""
    return Path(uri.removeprefix(SQLITE).split("?")[0]) if uri.startswith(SQLITE) else None


def quiet_mlflow() -> Any:
    """MLflow's module with our defaults for servers, its log silenced: failures are raised."""
    for name, value in SERVER_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow
