"""What stands before the first step: precision, the run folder and its lock, and the packages that are needed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pretrain.precision import resolve_precision
from pretrain.settings.pretraining import Config
from pretrain.training.preparation import open_run_folder
from pretrain.training.processes import start_accelerator
from shards.errors import UserError


def test_precision_is_settled() -> None:
    assert resolve_precision(Config(precision="fp32")).precision == "fp32"
    assert resolve_precision(Config(precision="auto")).precision in ("bf16", "fp32")


def test_a_run_folder_has_one_trainer_at_a_time(tmp_path: Path) -> None:
    config = Config(out=tmp_path / "run")
    with open_run_folder(config), pytest.raises(UserError, match="is in use"), open_run_folder(config):
        pass
    with open_run_folder(config):
        lock = os.open(config.out, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)


def test_a_folder_that_can_not_be_made_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"), open_run_folder(Config(out=tmp_path / "file")):
        pass


def test_a_tracker_that_is_not_installed_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package wandb, which is not installed"):
        start_accelerator(Config(tracker="wandb"))
