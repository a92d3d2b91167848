"""MLflow's own page in a real browser: the list of runs opens as model training and shows their scores."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import open_chromium
from commands import environment

TRACKED_RUN = """
import sys
from pathlib import Path
from pretrain.settings.training import RunSettings
from pretrain.training.tracking import Tracking
folder = Path(sys.argv[1])
folder.mkdir()
tracking = Tracking(RunSettings(out=folder), folder)
tracking.log({"train/loss": 1.0, "val/image_to_sound/median_rank": 17.5}, step=1)
tracking.finish()
"""
ADDRESS = "#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=scores"
SECONDS_TO_LOAD = 90


@contextmanager
def page_of(store: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    words = ["--backend-store-uri", f"sqlite:///{store}", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "ui", *words], env=environment(), start_new_session=True)
    try:
        while True:
            assert server.poll() is None
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.slow
@pytest.mark.browser
def test_the_list_of_runs_shows_scores(tmp_path: Path) -> None:
    variables = {name: value for name, value in environment().items() if name != "MLFLOW_TRACKING_URI"}
    subprocess.run([sys.executable, "-c", TRACKED_RUN, str(tmp_path / "one")], env=variables, check=True)
    with page_of(tmp_path / "mlflow.db") as address, open_chromium(tmp_path / "profile") as driver:
        driver.get(f"{address}/{ADDRESS}")
        deadline = time.monotonic() + SECONDS_TO_LOAD
        text = ""
        while "17.5" not in text and time.monotonic() < deadline:
            time.sleep(0.5)
            text = driver.execute_script("return document.body.innerText")
    lines = text.splitlines()
    assert {"one", "val/image_to_sound/median_rank", "17.5"} <= set(lines), text
