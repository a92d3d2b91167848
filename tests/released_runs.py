"""Run folders made by hand: untrained towers with all that a finished run keeps, in a second."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.settings.files import save_settings
from pretrain.settings.pretraining import Config, DataSettings, ModelSettings
from pretrain.training.metrics_file import MetricsFile
from pretrain.weights.model_folder import write_model_folder

DIRECTION = {"recall_at_1": 0.125, "recall_at_10": 0.5, "recall_at_100": None, "median_rank": 7.0, "mean_rank": 8.0}
"""Figures of a validation by hand."""

BOUNDS = {"recall_at_1": [0.0, 0.25], "recall_at_10": [0.25, 0.75], "median_rank": [5.0, 9.5]}
INTERVALS = {"level": 0.95, "unit": "query", "num_units": 16, "image_to_sound": BOUNDS, "sound_to_image": BOUNDS}


def small_towers(seed: int = 1, **changes: Any) -> TwoTower:
    """Towers for images of 32 px and the spectrograms of `write_tiny_shards`, whose statistics of batches all differ.

    Untrained batch norm passes on what it gets, under which much could go wrong unseen.
    """
    settings = TwoTowerConfig(image_size=32, sound_pooling=4, spectrogram_mean=90.0, spectrogram_std=60.0)
    torch.manual_seed(seed)
    towers = TwoTower(dataclasses.replace(settings, **changes))
    with torch.no_grad():
        for name, value in towers.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.7, 1.4)
    return towers.eval()


def write_run(
    folder: Path,
    shards: Path | str,
    towers: TwoTower | None = None,
    *,
    method: str = "audiovisual",
    image_init: str = "random",
    **summary: Any,
) -> Path:
    """A finished run folder whose best step is 3 of 6; `summary` adds to its summary."""
    towers = towers or small_towers()
    encoders = {"image_encoder": towers.config.image_encoder, "image_init": image_init}
    model = ModelSettings(**encoders, norm=towers.config.norm)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"out": folder, "shards": shards, "method": method}
    config = Config(**settings, epochs=2, batch_size=16, data=DataSettings(image_size=32), model=model)
    write_model_folder(folder, towers, "---\nlibrary_name: earshot\n---\n# A run's card\n")
    save_settings(config, folder / "config.yaml")
    metrics = MetricsFile(folder)
    scores = {"image_to_sound": DIRECTION, "sound_to_image": DIRECTION, "chance": DIRECTION, "gallery_size": 16}
    scores["intervals"] = INTERVALS
    for step in (3, 6):
        metrics.append(step=step, epoch=step // 3 - 1, split="val", **scores)
    record = {"step": 6, "best_step": 3, "seconds": 7200.0, "device": "cuda", "best_error": 8.0}
    (folder / "summary.json").write_text(json.dumps(record | summary))
    return folder


WIDE = {"image_encoder": "soundingearth-resnet18", "sound_encoder": "soundingearth-resnet18"}


def authors_checkpoint(folder: Path, towers: TwoTower) -> Path:
    """Towers of the authors' architecture under the names of their files."""
    state = {}
    for prefix, tower in (("img_encoder", towers.image_tower), ("snd_encoder", towers.sound_tower)):
        prefix += ".module_list.0."
        state |= {prefix + name: value for name, value in tower.trunk.state_dict().items()}
        state[prefix + "fc.weight"] = tower.projection.weight[:, :, None, None]
        state[prefix + "fc.bias"] = tower.projection.bias
    torch.save(state, folder / "latest.pt")
    return folder / "latest.pt"
