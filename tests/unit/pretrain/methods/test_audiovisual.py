"""Which model of an audiovisual run is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from pretrain.methods.settings import AudiovisualConfig
from pretrain.settings.pretraining import DataSettings, ModelSettings, ValidationSettings
from shards.streaming.reading import ShardSet

CONFIG = AudiovisualConfig(
    batch_size=8,
    data=DataSettings(image_size=32, workers=0),
    model=ModelSettings(sound_pooling=4, embedding_dim=16),
    precision="fp32",
)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_mean_rank_chooses_a_model_unless_the_last_is_kept(
    keep: Literal["best", "last"], tiny_shards: Path
) -> None:
    shard_set, config = ShardSet.open(tiny_shards), replace(CONFIG, validation=ValidationSettings(keep=keep))
    evaluation = config.build(shard_set.manifest).eval().validate(shard_set, config)
    assert evaluation.scores["mean_rank"] >= 1
    assert evaluation.error == (evaluation.scores["mean_rank"] if keep == "best" else None)
