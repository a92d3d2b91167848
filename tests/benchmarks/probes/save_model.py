"""Saves towers with random weights: THIS FOLDER ENCODER IMAGE_SIZE SOUND_POOLING."""

from __future__ import annotations

import json
import sys

import torch

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig

torch.manual_seed(0)
folder, encoder, size, pooling = sys.argv[1:]
config = TwoTowerConfig(image_encoder=encoder, sound_encoder=encoder, image_size=int(size), sound_pooling=int(pooling))
TwoTower(config).save_pretrained(folder)
print(json.dumps({}))
