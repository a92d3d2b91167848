"""The towers of a run, built from its settings and loaded with the weights they start from."""

from __future__ import annotations

from pathlib import Path

import torch

from pretrain.encoders import ENCODERS
from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import Encoder
from pretrain.encoders.running_statistics import average_at_first
from pretrain.model import TwoTower
from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD, TwoTowerConfig
from pretrain.model_files import CONFIG_NAME, PUBLISHED, WEIGHTS_NAME, find_model_folder, is_model_name
from pretrain.settings.pretraining import Config
from pretrain.weights.authors_checkpoint import is_authors_checkpoint
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from pretrain.weights.files import read_weights
from shards.errors import UserError
from shards.front_ends import FRONT_ENDS, front_end_name
from shards.manifest import Manifest


def build_towers(config: Config, manifest: Manifest, *, on_sphere: bool) -> TwoTower:
    """Builds towers for a shard set's spectrograms; encoders start from `model.image_init` and `model.sound_init`.

    Args:
        config: settings of the run.
        manifest: manifest of the shard set.
        on_sphere: whether embeddings are scaled to length 1.

    Raises:
        UserError: the weights to start from are missing or don't fit.
    """
    for encoder in (config.model.image_encoder, config.model.sound_encoder):
        # The user's own settings name it, so weights that are loaded may name it as well.
        ENCODERS.allow(encoder)
    num_frames = config.data.frames_of_crop(manifest.spectrogram)
    mean, std = sound_normalisation(config.model.sound_encoder, manifest, str(config.shards))
    image = _weights("model.image_init", config.model.image_init, config.model.image_encoder, config, (3,))
    towers = TwoTower(
        TwoTowerConfig(
            image_encoder=config.model.image_encoder,
            sound_encoder=config.model.sound_encoder,
            embedding_dim=config.model.embedding_dim,
            norm=config.model.norm,
            on_sphere=on_sphere,
            image_size=config.data.image_size,
            image_mean=image.mean if image else IMAGENET_MEAN,
            image_std=image.std if image else IMAGENET_STD,
            num_frames=num_frames,
            sound_pooling=config.model.sound_pooling,
            spectrogram_mean=mean,
            spectrogram_std=std,
            spectrogram=manifest.spectrogram,
            rasters=manifest.rasters.learned,
            head_hidden=config.model.head_hidden,
        )
    )
    front_end = towers.sound_tower.trunk.front_end
    if front_end and config.model.sound_pooling > 1:
        raise UserError(
            f"model.sound_pooling must be 1 with {config.model.sound_encoder}, which takes the spectrograms of "
            f"{front_end} as they are, got {config.model.sound_pooling}"
        )
    if image:
        _load(towers.image_tower.trunk, image.module, "model.image_init", config.model.image_init)
    sound = _sound_weights(config)
    if sound:
        _load(towers.sound_tower.trunk, sound, "model.sound_init", config.model.sound_init)
    for weights, tower in ((image, towers.image_tower), (sound, towers.sound_tower)):
        if weights is None:
            average_at_first(tower.trunk)
        else:
            tower.keeps_statistics = config.model.keep_statistics
    for name, tower in (("image", towers.image_tower), ("sound", towers.sound_tower)):
        if name in config.model.freeze.split(","):
            tower.freeze()
    return towers


def sound_normalisation(sound_encoder: str, manifest: Manifest, shards: str) -> tuple[float, float]:
    """Mean and standard deviation by which stored bytes are normalised: the encoder's, or else the shard set's.

    Args:
        sound_encoder: name in `ENCODERS`.
        manifest: manifest of the shard set.
        shards: location of the shard set, for messages.

    Raises:
        UserError: the sound encoder takes spectrograms of another front end.
    """
    with torch.device("meta"):
        encoder = build_encoder(sound_encoder, channels=1)
    if not encoder.front_end:
        return manifest.statistics["spectrogram_mean"], manifest.statistics["spectrogram_std"]
    if manifest.spectrogram != FRONT_ENDS.load(encoder.front_end):
        found = front_end_name(manifest.spectrogram) or "another front end"
        raise UserError(
            f"model.sound_encoder {encoder.name} takes spectrograms of {encoder.front_end}, those of {shards} "
            f"are of {found}; build the shards with: python shards/run.py build --spectrogram {encoder.front_end} …"
        )
    scale = manifest.spectrogram.scale
    step = (scale.high - scale.low) / 255
    return (encoder.sound_mean - scale.low) / step, encoder.sound_std / step


def _weights(setting: str, init: str, encoder: str, config: Config, channels: tuple[int, ...]) -> LoadedEncoder | None:
    if init == "random":
        return None
    # A registered encoder is recognised from its file; for outside code it is assumed to hold the requested one.
    asked = encoder if init in PUBLISHED or encoder not in ENCODERS else "auto"
    loaded = load_encoder(
        init, backbone=asked, imagenet_file=config.model.imagenet_file, setting=setting, channels=channels
    )
    if loaded.backbone != encoder:
        raise UserError(
            f"{setting} {init} holds a {loaded.backbone}, but the encoder that starts from it is a {encoder}"
        )
    return loaded


def _sound_weights(config: Config) -> Encoder | None:
    init, encoder = config.model.sound_init, config.model.sound_encoder
    path = Path(init)
    is_weights = path.name == WEIGHTS_NAME and (path.parent / CONFIG_NAME).is_file()
    if path.is_dir() or is_model_name(init) or is_weights:
        towers = TwoTower.from_pretrained(find_model_folder(path.parent if is_weights else path))
        if towers.config.sound_encoder != encoder:
            raise UserError(
                f"model.sound_init {init} holds a {towers.config.sound_encoder}, but model.sound_encoder is {encoder}"
            )
        return towers.sound_tower.trunk
    if path.is_file() and is_authors_checkpoint(read_weights(path)):
        raise UserError(
            f"model.sound_init {init} holds two towers; convert it to a model folder with `pretrain/run.py convert` "
            "and give that instead"
        )
    loaded = _weights("model.sound_init", init, encoder, config, (1, 3))
    return loaded.module if loaded else None


def _load(encoder: Encoder, weights: Encoder, setting: str, init: str) -> None:
    """Copies weights into an encoder, adapted to its channels and input size."""
    state = encoder.adapted(weights.published_state())
    own = encoder.published_state()
    differing = sorted(set(own) ^ set(state))
    if differing:
        raise UserError(
            f"{setting} {init} does not fit the encoder, {len(differing)} tensor names differ, such as {differing[0]}; "
            "give weights with the normalisation layers of model.norm"
        )
    other = next((name for name in own if own[name].shape != state[name].shape), None)
    if other is not None:
        raise UserError(
            f"{setting} {init} does not fit the encoder: {other} has shape {tuple(state[other].shape)}, but it needs "
            f"{tuple(own[other].shape)}; give weights for inputs of the same size"
        )
    encoder.load_published(state)
