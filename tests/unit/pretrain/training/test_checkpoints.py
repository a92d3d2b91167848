"""Checkpoints: what comes back, what is passed over, and what a full disk leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from commands import python_with_small_files
from torch import Tensor, nn

from pretrain.engines import Engine
from pretrain.engines.data_parallel import DataParallelEngine
from pretrain.settings.training import RunSettings
from pretrain.training.checkpoints import (
    OPTIMIZER_FILE,
    RunState,
    list_checkpoints,
    load_newest_checkpoint,
    save_checkpoint,
)
from shards.errors import UserError

SAVE_A_LARGER_ONE = """
import sys
from pathlib import Path
import torch
from pretrain.training.checkpoints import RunState, save_checkpoint
from pretrain.engines import TrainingState
from shards.errors import UserError
tensors = TrainingState(torch.nn.Linear(500, 500).state_dict(), {})
try:
    save_checkpoint(Path(sys.argv[1]), tensors, RunState(step=2), keep=1)
except UserError as error:
    print(error)
"""


class Network(nn.Sequential):
    """A small network with the interface of a method."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"output": super().forward(batch["input"])}


def trained(steps: int, width: int = 6) -> Engine:
    """A small network after some steps of Adam."""
    torch.manual_seed(0)
    model = Network(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 1))
    # Two groups, in another order than the network's parameters.
    groups = [{"params": [p for p in model.parameters() if (p.ndim > 1) == matrices]} for matrices in (True, False)]
    settings = RunSettings(precision="fp32")
    engine = DataParallelEngine(Accelerator(cpu=True), model, torch.optim.Adam(groups), settings, per_process=8)
    for step in range(steps):
        one_step(engine, step)
    return engine


def one_step(engine: Engine, seed: int) -> None:
    data = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
    engine.backward(engine.forward({"input": data})["output"].square().mean())
    engine.update(0.01)


def load(folder: Path, warnings: list[str] | None = None) -> tuple[Engine, RunState]:
    engine = trained(0)
    heard: list[str] = [] if warnings is None else warnings
    return engine, load_newest_checkpoint(folder, engine.load_state, heard.append)


def test_training_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    engine = trained(3)
    state = RunState(step=3, best_error=4.5, best_step=2, validations_since_best=1, seconds=9.25)
    save_checkpoint(tmp_path, engine.state(), state, keep=2)
    again, again_state = load(tmp_path)
    assert again_state == state
    for seed in (3, 4):
        one_step(engine, seed)
        one_step(again, seed)
    for name, value in engine.state().weights.items():
        assert torch.equal(value, again.state().weights[name]), name


def test_keeps_the_newest(tmp_path: Path) -> None:
    engine = trained(1)
    for step in (10, 9, 2, 100):
        save_checkpoint(tmp_path, engine.state(), RunState(step=step), keep=2)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-00000010", "step-00000100"]
    assert load(tmp_path)[1].step == 100


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    engine = trained(1)
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, engine.state(), RunState(step=step), keep=3)
    newest, middle = list_checkpoints(tmp_path)[2], list_checkpoints(tmp_path)[1]
    content = bytearray((newest / OPTIMIZER_FILE).read_bytes())
    content[-1] ^= 1
    (newest / OPTIMIZER_FILE).write_bytes(content)
    (middle / "state.json").unlink()
    warnings: list[str] = []
    assert load(tmp_path, warnings)[1].step == 1
    assert len(warnings) == 2
    assert "step-00000003 is damaged" in warnings[0]
    assert "checksum" in warnings[0]


def test_a_half_written_one_does_not_count(tmp_path: Path) -> None:
    engine = trained(1)
    save_checkpoint(tmp_path, engine.state(), RunState(step=1), keep=2)
    (tmp_path / "checkpoints" / ".step-00000002.partial").mkdir()
    assert load(tmp_path)[1].step == 1


def test_none_is_a_new_run_and_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    assert load(tmp_path)[1] == RunState()
    engine = trained(1)
    folder = save_checkpoint(tmp_path, engine.state(), RunState(step=1), keep=2)
    (folder / "state.json").write_text("{")
    with pytest.raises(UserError, match="none of the 1 checkpoints"):
        load(tmp_path)


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path) -> None:
    engine = trained(1)
    save_checkpoint(tmp_path, engine.state(), RunState(step=1), keep=1)
    message = python_with_small_files(SAVE_A_LARGER_ONE, tmp_path, most_bytes=1024)
    assert "the checkpoint of step 2 can't be written" in message
    assert "step-00000001" in message
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert load(tmp_path)[1].step == 1
