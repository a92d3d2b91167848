"""Locks between processes, and what happens on file systems that have none."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pretrain.settings.pretraining import Config
from pretrain.trackers.mlflow_store import Store
from pretrain.training.preparation import open_run_folder
from retrieval.study.folder import at_work_in
from shards.errors import UserError
from shards.locks import lock, lock_folder
from shards.temporary_files import Temporary

HOLDER = """
import sys
from pathlib import Path
from shards.locks import lock
with Path(sys.argv[1]).open("a+") as file:
    print(lock(file, shared=sys.argv[2] == "shared"), flush=True)
    sys.stdin.read()
"""


def held_by_another_process(path: Path, kind: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


@pytest.mark.parametrize(("held", "shared", "is_free"), [
    ("alone", False, False), ("alone", True, False), ("shared", False, False), ("shared", True, True),
])  # fmt: skip
def test_a_lock_of_another_process_is_seen_and_ends_with_it(
    tmp_path: Path, held: str, shared: bool, is_free: bool
) -> None:
    path = tmp_path / "lock"
    with held_by_another_process(path, held) as holder, path.open("a+") as file:
        if is_free:
            assert lock(file, shared=shared)
        else:
            with pytest.raises(BlockingIOError):
                lock(file, shared=shared)
        holder.kill()
        assert lock(file, shared=shared, wait=True)


def test_a_locked_folder_names_its_setting_and_the_reason(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path / "out", "first"),
        pytest.raises(UserError, match=r"cache .*/out is in use: second; wait for it or stop it"),
        lock_folder(tmp_path / "out", "second", setting="cache"),
    ):
        pass


USERS: dict[str, Callable[[Path], AbstractContextManager[object]]] = {
    "run folder": lambda folder: open_run_folder(Config(out=folder)),
    "MLflow store": lambda folder: Store.of(folder).opening(folder),
    "study": lambda folder: at_work_in(folder, alone=True),
}


@pytest.mark.parametrize("user", USERS)
def test_a_file_system_without_locks_is_worked_on(user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with USERS[user](tmp_path):
        pass


def test_without_locks_no_temporary_file_is_swept_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("shards.temporary_files._swept", set())
    ours = Temporary(tmp_path / "file")
    monkeypatch.setattr("shards.temporary_files._swept", set())
    other = Temporary(tmp_path / "file")
    assert ours.path.exists()
    other.keep()
    ours.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_failure_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("a+") as file, pytest.raises(OSError, match="Input/output error"):
        lock(file)
