"""Projections: their shapes, and what needs a linear one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pretrain.activation_maps import nearness_maps
from pretrain.encoders.projection import build_projection, embedding_dim_of, linear_projection
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.errors import UserError


def test_a_hidden_layer_stands_between_two_linear_ones() -> None:
    linear, deep = build_projection(6, 4), build_projection(6, 4, 10)
    assert isinstance(linear, nn.Linear)
    assert embedding_dim_of(linear) == embedding_dim_of(deep) == 4
    inputs = torch.randn(3, 6)
    first, last = deep[0], deep[2]
    expected = nn.functional.gelu(inputs @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(deep(inputs), expected)


def test_activation_maps_need_a_linear_one() -> None:
    assert linear_projection(build_projection(6, 4), "activation maps").out_features == 4
    towers = TwoTower(TwoTowerConfig(head_hidden=8, embedding_dim=4)).eval()
    with pytest.raises(UserError, match="activation maps need a linear projection"):
        nearness_maps(towers, torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 4), torch.zeros(4))
    with pytest.raises(UserError, match=r"activation maps need a linear projection.*head_hidden > 0"):
        linear_projection(build_projection(6, 4, 8), "activation maps")


def test_a_model_folder_keeps_it(tmp_path: Path) -> None:
    towers = TwoTower(TwoTowerConfig(head_hidden=32, embedding_dim=8)).eval()
    towers.save_pretrained(tmp_path)
    loaded = TwoTower.from_pretrained(tmp_path)
    sounds = torch.randint(0, 256, (2, 1, 128, 128), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded.encode_sound(sounds), towers.encode_sound(sounds))
    assert "head_hidden" not in TwoTowerConfig().to_dict()
