"""Trackers: where runs are recorded, stores that can't be used, and trackers that fail while a run trains."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import environment

from pretrain.settings.training import RunSettings
from pretrain.trackers import TRACKERS
from pretrain.trackers.mlflow_store import SERVER_DEFAULTS, Store, quiet_mlflow
from pretrain.training.tracking import TRACKING_NAME, Tracking, attach_report, read_record
from shards.errors import UserError

OUTSIDE = '''
from pathlib import Path
from pretrain.trackers.tracker import Tracker

class Fragile(Tracker):
    """Writes what it is given to a file, and fails while the file `broken` is there."""

    def __init__(self, run):
        self.folder = run.folder
        self.run_id = run.run_id or "run-1"
        self._write(f"begin {run.name} {run.store_folder} {run.run_id} {run.settings['epochs']}")

    def _write(self, line):
        if (self.folder / "broken").exists():
            raise OSError("No space\\nleft on device")
        with (self.folder / "told").open("a") as file:
            print(line, file=file)

    def log(self, values, *, step):
        self._write(f"{step} {values}")

    def log_file(self, path):
        self._write(f"file {path.name}")

    def finish(self, *, failed):
        self._write(f"end {failed}")
'''


@pytest.fixture(autouse=True)
def no_store_given(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in SERVER_DEFAULTS:
        monkeypatch.setenv(name, "1")  # restored afterwards
    yield
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None:
        mlflow.end_run()
        mlflow.set_tracking_uri(None)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "outside_tracker.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "outside_tracker", raising=False)
    return "outside_tracker:Fragile"


@pytest.fixture
def nobodys_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def track(folder: Path, tracker: str = "mlflow") -> Tracking:
    return Tracking(RunSettings(out=folder, tracker=tracker), folder)


def recorded(store: Path) -> list[tuple[str, str, int]]:
    """Name, status and number of metrics of every run in an SQLite store."""
    query = "select name, status, (select count(*) from metrics where run_uuid = runs.run_uuid) from runs order by name"
    with closing(sqlite3.connect(store)) as file:
        return file.execute(query).fetchall()


def test_runs_within_a_tracked_run_go_to_its_store(tmp_path: Path, fragile: str) -> None:
    outer = tmp_path / "runs" / "tuned"
    inner = outer / "seed-0" / "lr-0.001"
    inner.mkdir(parents=True)

    def begun(folder: Path) -> str:
        track(folder, fragile).finish()
        (folder / TRACKING_NAME).unlink()
        return (folder / "told").read_text().splitlines()[-2]

    assert begun(inner) == f"begin lr-0.001 {inner.parent.resolve()} None 40"
    # What holds settings alone, such as a project's folder, is no tracked run.
    (tmp_path / "config.yaml").touch()
    (outer / TRACKING_NAME).write_text("{}")
    assert begun(inner) == f"begin tuned/seed-0/lr-0.001 {outer.parent.resolve()} None 40"
    assert begun(outer) == f"begin tuned {outer.parent.resolve()} None 40"


def test_a_tracker_from_outside_records_a_run_and_its_resumption(run_folder: Path, fragile: str) -> None:
    tracking = track(run_folder, fragile)
    tracking.log({"train/loss": 1.0, "val/recall": None}, step=3)
    tracking.log_file(run_folder / "summary.json")
    tracking.finish()
    assert read_record(run_folder) == {"tracker": fragile, "run_id": "run-1"}
    track(run_folder, fragile).finish(failed=True)
    store = run_folder.parent.resolve()
    assert (run_folder / "told").read_text().splitlines() == [
        *(f"begin one {store} None 40", "3 {'train/loss': 1.0}", "file summary.json", "end False"),
        *(f"begin one {store} run-1 40", "end True"),
    ]


def test_a_tracker_that_fails_is_warned_of_once_and_used_again_when_it_works(
    run_folder: Path, fragile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = track(run_folder, fragile)
    (run_folder / "broken").touch()
    for step in (1, 2):
        tracking._silent_until = 0
        tracking.log({"loss": 1.0}, step=step)
    tracking.log_file(run_folder / "config.yaml")
    (run_folder / "broken").unlink()
    tracking._silent_until = 0
    tracking.log({"loss": 1.0}, step=3)
    tracking.finish()
    assert (run_folder / "told").read_text().splitlines()[1:] == ["3 {'loss': 1.0}", "end False"]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == (
        f"warning: tracker {fragile} failed (No space); the run goes on, and what is not recorded there stays in "
        f"{run_folder / 'metrics.jsonl'}"
    )


def test_a_tracker_that_fails_slowly_is_left_alone_for_a_while(
    run_folder: Path, fragile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    tracking = track(run_folder, fragile)

    def time_out(*_: Any, **__: Any) -> None:
        clock[0] += 30
        raise TimeoutError

    assert tracking._tracker is not None
    monkeypatch.setattr(tracking._tracker, "log", time_out)
    tracking.log({}, step=1)
    assert clock[0] == 130
    clock[0] = 429
    tracking.log({}, step=2)  # would take its 30 seconds
    assert clock[0] == 429
    clock[0] = 430
    tracking.log({}, step=3)
    assert clock[0] == 460


def test_a_tracker_that_can_not_start_refuses_the_run(run_folder: Path, fragile: str) -> None:
    (run_folder / "broken").touch()
    with pytest.raises(UserError, match=rf"^tracker {fragile} can't start \(No space\); choose another --tracker"):
        track(run_folder, fragile)
    assert not (run_folder / TRACKING_NAME).exists()


def test_none_leaves_no_trace(run_folder: Path) -> None:
    tracking = track(run_folder, "none")
    tracking.log({"loss": 1.0}, step=1)
    tracking.finish()
    assert list(run_folder.iterdir()) == []


def test_tensorboard_gets_every_value(run_folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracking = track(run_folder, "tensorboard")
    for step in range(3):
        tracking.log({"train/loss": float(step)}, step=step)
    tracking.finish()
    events = EventAccumulator(str(run_folder / "earshot")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert len(list((run_folder / "earshot").glob("*/hparams.yml"))) == 1


def test_wandb_is_called_as_it_asks(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text(
        "from unittest.mock import MagicMock\nrun = MagicMock(id='abc')\ninit = MagicMock(return_value=run)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    tracking = track(run_folder, "wandb")
    tracking.log({"loss": 1.0}, step=2)
    tracking.log_file(run_folder / "a.yaml")
    tracking.finish(failed=True)
    track(run_folder, "wandb")
    wandb = sys.modules["wandb"]
    first, second = wandb.init.call_args_list  # type: ignore[attr-defined]
    assert (first.kwargs["id"], second.kwargs["id"], second.kwargs["resume"]) == (None, "abc", "allow")
    wandb.run.log.assert_called_once_with({"loss": 1.0}, step=2)  # type: ignore[attr-defined]
    wandb.run.save.assert_called_once_with(str(run_folder / "a.yaml"), base_path=str(run_folder))  # type: ignore[attr-defined]
    wandb.run.finish.assert_called_once_with(exit_code=1)  # type: ignore[attr-defined]


def test_mlflow_continues_a_run_under_its_id(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = run_folder.parent / "mlflow.db"
    for failed in (True, False):
        tracking = track(run_folder)
        tracking.log({"loss": 1.0}, step=int(failed))
        tracking.log_file(run_folder / TRACKING_NAME)
        tracking.finish(failed=failed)
        assert recorded(store) == [("one", "FAILED" if failed else "FINISHED", 2 - failed)]
        assert "MLFLOW_TRACKING_URI" not in os.environ
    (kept,) = (run_folder.parent / "mlartifacts").rglob(TRACKING_NAME)
    assert kept.read_bytes() == (run_folder / TRACKING_NAME).read_bytes()
    with closing(sqlite3.connect(store)) as file:
        assert ("epochs", "40") in file.execute("select key, value from params").fetchall()

    # The run folder was moved away from its store: the new one does not know the run.
    (run_folder.parent.parent / "elsewhere").mkdir()
    moved = run_folder.rename(run_folder.parent.parent / "elsewhere" / "one")
    track(moved).finish()
    assert "continuing as a new run" in capsys.readouterr().err
    assert recorded(moved.parent / "mlflow.db") == [("one", "FINISHED", 0)]


def experiment_tags(store: Path) -> dict[str, str]:
    with closing(sqlite3.connect(store)) as file:
        return dict(file.execute("select key, value from experiment_tags"))


def test_the_experiment_is_tagged_as_model_training_once(run_folder: Path) -> None:
    store = run_folder.parent / "mlflow.db"
    track(run_folder).finish()
    tags = experiment_tags(store)
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    columns = json.loads(tags["mlflow.sharedViewState.scores"])["selectedColumns"]
    assert "metrics.`val/image_to_sound/median_rank`" in columns
    # An experiment from before gets the tags that it lacks, and keeps the choice of its owner.
    with closing(sqlite3.connect(store)) as file:
        file.execute("update experiment_tags set value = 'genai_development' where key = 'mlflow.experimentKind'")
        file.execute("delete from experiment_tags where key = 'mlflow.sharedViewState.scores'")
        file.commit()
    track(run_folder).finish()
    assert experiment_tags(store) == {**tags, "mlflow.experimentKind": "genai_development"}


def test_a_store_that_takes_no_tags_still_records_the_run(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = quiet_mlflow()
    track(run_folder).finish()
    with closing(sqlite3.connect(run_folder.parent / "mlflow.db")) as file:
        file.execute("delete from experiment_tags")
        file.commit()

    def refuse(*_: Any) -> None:
        raise mlflow.exceptions.MlflowException("permission denied")

    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", refuse)
    track(run_folder).finish()
    assert "does not take the tags that show earshot as model training: permission denied" in capsys.readouterr().err
    assert recorded(run_folder.parent / "mlflow.db") == [("one", "FINISHED", 0)]


def test_a_store_that_is_locked_for_a_while_loses_only_that_while(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_folder.parent / "store.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}?timeout=0.1")
    tracking = track(run_folder)
    tracking.log({"loss": 1.0}, step=1)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("begin exclusive")
        for step in (2, 3):
            tracking._silent_until = 0
            tracking.log({"loss": 1.0}, step=step)
        with pytest.raises(UserError, match=r"can't use the store sqlite:.*: database is locked; set MLFLOW_TRACKING"):
            track(run_folder)
        other.execute("rollback")
    tracking._silent_until = 0
    tracking.log({"loss": 1.0}, step=4)
    tracking.finish()
    assert recorded(store) == [("one", "FINISHED", 2)]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: tracker mlflow failed (")
    assert "database is locked" in warning


def test_stores_that_mlflow_refuses_are_one_sentence(
    run_folder: Path, nobodys_port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    newer = run_folder.parent / "newer.db"
    track(run_folder).finish()
    (run_folder.parent / "mlflow.db").rename(newer)
    (run_folder / TRACKING_NAME).unlink()
    with closing(sqlite3.connect(newer)) as file:
        file.execute("update alembic_version set version_num = 'ffffffffffff'")
        file.commit()
    (run_folder.parent / "file").touch()
    capfd.readouterr()
    for uri, shown in {
        str(run_folder.parent / "mlruns"): "",
        f"http://user:secret@127.0.0.1:{nobodys_port}": f"http://127.0.0.1:{nobodys_port}: ",
        f"sqlite:///{run_folder.parent}/file/store.db": "",
        f"sqlite:///{run_folder.parent}/file": "",
        f"sqlite:///{newer}": "",
        "nonsense://store": "",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        if uri.endswith("/file"):
            (run_folder.parent / "file").write_text("no database, " * 100)
        with pytest.raises(UserError) as refusal:
            track(run_folder)
        sentence = str(refusal.value)
        assert sentence.startswith(f"tracker mlflow can't use the store {shown or uri}")
        assert sentence.endswith("; set MLFLOW_TRACKING_URI to another store, or choose another --tracker")
        assert "secret" not in sentence
        assert "\n" not in sentence
    assert capfd.readouterr().err == ""


def test_a_full_disk_costs_a_warning(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from pretrain.settings.training import RunSettings
from pretrain.training.tracking import Tracking
folder = Path(sys.argv[1])
tracking = Tracking(RunSettings(out=folder, tracker=sys.argv[2]), folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
for step in range(3):
    tracking._silent_until = 0
    tracking.log({f"metric-{i}": float(i) for i in range(500)}, step=step)
tracking.log_file(Path(sys.argv[3]))
tracking.finish()
print("trained")
"""
    for tracker in ("mlflow", "tensorboard"):
        (tmp_path / tracker / "run").mkdir(parents=True)
        words = [str(tmp_path / tracker / "run"), tracker, __file__]
        variables = {name: value for name, value in environment().items() if name != "MLFLOW_TRACKING_URI"}
        done = subprocess.run([sys.executable, "-c", code, *words], env=variables, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
        assert done.stderr.count("warning: ") == done.stderr.count(f"warning: tracker {tracker} failed (") == 1


def test_servers_get_our_patience_unless_the_user_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = SERVER_DEFAULTS
    monkeypatch.setenv(first, "99")
    for name in others:
        monkeypatch.delenv(name)
    quiet_mlflow()
    assert {name: os.environ[name] for name in SERVER_DEFAULTS} == {**SERVER_DEFAULTS, first: "99"}


def test_the_store_that_the_user_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Store.of(tmp_path).uri == f"sqlite:///{tmp_path.resolve()}/mlflow.db?timeout=120"
    assert Store.of(tmp_path).artifacts == (tmp_path.resolve() / "mlartifacts").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker")
    assert Store.of(tmp_path) == Store("http://tracker", None)


def test_a_report_that_can_not_be_attached_costs_a_warning(
    run_folder: Path, nobodys_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    report.touch()
    assert not attach_report(run_folder, report, {})
    (run_folder / TRACKING_NAME).write_text(
        f'{{"tracker": "mlflow", "run_id": "1", "tracking_uri": "http://127.0.0.1:{nobodys_port}"}}'
    )
    assert not attach_report(run_folder, report, {"test/recall": 0.5})
    (run_folder / TRACKING_NAME).write_text("{")
    assert not attach_report(run_folder, report, {})
    (run_folder / TRACKING_NAME).write_text('{"tracker": "no_such_module:Tracker"}')
    assert not attach_report(run_folder, report, {})  # not imported: the folder may come from others
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert all(
        line.startswith(f"warning: the report is not added to the tracked run of {run_folder} (") for line in warnings
    )


def test_a_report_is_attached_to_the_run_of_its_weights(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>")
    track(run_folder).finish()
    assert attach_report(run_folder, tmp_path / "report.html", {"test/recall": 0.5, "test/rank": None})
    store = run_folder.parent / "mlflow.db"
    assert recorded(store) == [("one", "FINISHED", 1)]
    assert len(list((run_folder.parent / "mlartifacts").rglob("retrieval/report.html"))) == 1
    store.unlink()
    assert not attach_report(run_folder, tmp_path / "report.html", {"test/recall": 0.5})
    assert not store.exists()


def test_every_tracker_is_registered_with_its_package() -> None:
    assert {name: TRACKERS[name].package for name in TRACKERS} == {
        "mlflow": "mlflow",
        "tensorboard": "tensorboard",
        "wandb": "wandb",
        "none": None,
    }
