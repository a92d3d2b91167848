"""Untrusted weights files: tensors by name, or one sentence, and no more memory than the file is large."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pretrain.weights.files import read_weights
from shards.errors import UserError


def test_tensors_come_by_name(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.arange(3), "b": torch.ones(2, 3).t(), "epoch": 7}}, tmp_path / "a.pth")
    tensors = read_weights(tmp_path / "a.pth")
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {"a": (3,), "b": (3, 2)}


def test_a_tensor_that_states_more_values_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(100, 7)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="a states 100 x 7 values, more than the file holds"):
        read_weights(tmp_path / "a.pth")


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")
    monkeypatch.setattr("pretrain.weights.files.MOST_EXPANSION", 0)
    with pytest.raises(UserError, match=r"a\.pth would unpack to [0-9,]+ bytes, more than the 0 allowed"):
        read_weights(tmp_path / "a.pth")
