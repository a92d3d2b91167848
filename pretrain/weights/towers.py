"""The towers of a run, as its settings have them, with the weights that they begin from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pretrain.model import TwoTower
from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD, TwoTowerConfig
from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME, find_model_folder, is_hub_name
from pretrain.settings.pretraining import Config
from pretrain.weights.authors_checkpoint import is_authors_checkpoint
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from pretrain.weights.files import read_weights
from shards.errors import UserError
from shards.manifest import Manifest

STEM = "conv1.weight"
"""A ResNet's first layer, the only one whose shape depends on the number of input channels."""


def build_towers(config: Config, manifest: Manifest, *, on_sphere: bool) -> TwoTower:
    """Towers for the spectrograms of a shard set; their trunks begin as `model.image_init` and `.sound_init` say.

    Args:
        config: of the run.
        manifest: of the shard set.
        on_sphere: whether embeddings are scaled to length 1.

    Raises:
        UserError: the weights to begin from are missing or don't fit.
    """
    image_trunk = _trunk_weights("model.image_init", config.model.image_init, config.model.image_encoder, config, (3,))
    towers = TwoTower(
        TwoTowerConfig(
            image_encoder=config.model.image_encoder,
            sound_encoder=config.model.sound_encoder,
            embedding_dim=config.model.embedding_dim,
            norm=config.model.norm,
            on_sphere=on_sphere,
            image_size=config.data.image_size,
            image_mean=image_trunk.mean if image_trunk else IMAGENET_MEAN,
            image_std=image_trunk.std if image_trunk else IMAGENET_STD,
            num_frames=config.data.num_frames,
            sound_pooling=config.model.sound_pooling,
            spectrogram_mean=manifest.statistics["spectrogram_mean"],
            spectrogram_std=manifest.statistics["spectrogram_std"],
            spectrogram=manifest.spectrogram,
        )
    )
    if image_trunk:
        _load(towers.image_tower.trunk, image_trunk.module, "model.image_init", config.model.image_init)
    sound_trunk = _sound_weights(config)
    if sound_trunk:
        _load(towers.sound_tower.trunk, sound_trunk, "model.sound_init", config.model.sound_init)
    return towers


def _trunk_weights(
    setting: str, init: str, encoder: str, config: Config, in_channels: tuple[int, ...]
) -> LoadedEncoder | None:
    if init == "random":
        return None
    backbone = encoder if init == "imagenet" else "auto"
    trunk = load_encoder(
        init, backbone=backbone, imagenet_file=config.model.imagenet_file, setting=setting, in_channels=in_channels
    )
    if trunk.backbone != encoder:
        raise UserError(f"{setting} {init} holds a {trunk.backbone}, the trunk that is to begin from it is a {encoder}")
    return trunk


def _sound_weights(config: Config) -> nn.Module | None:
    init, encoder = config.model.sound_init, config.model.sound_encoder
    path = Path(init)
    is_weights = path.name == WEIGHTS_NAME and (path.parent / CONFIG_NAME).is_file()
    if path.is_dir() or is_hub_name(init) or is_weights:
        towers = TwoTower.from_pretrained(find_model_folder(path.parent if is_weights else path))
        if towers.config.sound_encoder != encoder:
            raise UserError(
                f"model.sound_init {init} holds a {towers.config.sound_encoder}, model.sound_encoder is {encoder}"
            )
        return towers.sound_tower.trunk
    if path.is_file() and is_authors_checkpoint(read_weights(path)):
        raise UserError(
            f"model.sound_init {init} holds two towers; turn it into a model folder by `pretrain/run.py convert`, and "
            "give that"
        )
    trunk = _trunk_weights("model.sound_init", init, encoder, config, (1, 3))
    return trunk.module if trunk else None


def _load(trunk: nn.Module, weights: nn.Module, setting: str, init: str) -> None:
    """Copies weights into a trunk; where it sees one channel, those of the stem's three colours are added up, so that
    a grey image is answered as before."""
    state = weights.state_dict()
    own = trunk.state_dict()
    if own[STEM].shape[1] == 1 and state[STEM].shape[1] == 3:
        state[STEM] = state[STEM].sum(1, keepdim=True)
    differing = sorted(set(own) ^ set(state))
    if differing:
        raise UserError(
            f"{setting} {init} does not fit the trunk, {len(differing)} tensors differ, such as {differing[0]}; give "
            "weights with the normalisation layers of model.norm"
        )
    trunk.load_state_dict(state)
