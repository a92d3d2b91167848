"""An MLflow server that goes away while a run is tracked: the run still ends well, with one warning."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from commands import environment

TRACKED_RUN = """
import sys
import time
import urllib.request
from pathlib import Path
from pretrain.settings.training import RunSettings
from pretrain.training.tracking import Tracking
folder = Path(sys.argv[1])
tracking = Tracking(RunSettings(out=folder), folder)
tracking.log({"train/loss": 1.0}, step=1)
print("tracked", flush=True)
sys.stdin.readline()
tracking.log({"train/loss": 0.5}, step=2)
tracking.log_file(folder / "tracking.json")
tracking.finish()
print("trained", flush=True)
"""
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}


@pytest.mark.slow
def test_a_server_that_goes_away_costs_a_warning(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    words = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/store.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port), "--workers", "1"],
        env=environment(),
        start_new_session=True,
    )
    try:
        _wait_for(server, f"{address}/health")
        (tmp_path / "run").mkdir()
        tracked = subprocess.Popen(
            [sys.executable, "-c", TRACKED_RUN, str(tmp_path / "run")],
            env=environment(MLFLOW_TRACKING_URI=address, **IMPATIENT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tracked.stdout is not None
        assert tracked.stdout.readline() == "tracked\n"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    said, errors = tracked.communicate("go\n", timeout=600)
    assert (tracked.returncode, said) == (0, "trained\n"), errors
    (warning,) = errors.splitlines()
    assert warning.startswith("warning: tracker mlflow failed (")
    assert json.loads((tmp_path / "run" / "tracking.json").read_text())["tracking_uri"] == address


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    while True:
        assert server.poll() is None
        try:
            with urllib.request.urlopen(address):
                return
        except OSError:
            time.sleep(0.1)
