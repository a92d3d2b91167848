"""Loads both towers for audiovisual benchmarks, and checks that they fit the benchmark's spectrograms."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate.utils import set_seed

from downstream.settings import DownstreamSettings
from pretrain.model import TwoTower, refuse_other_spectrograms
from pretrain.model_config import TwoTowerConfig
from pretrain.model_files import PUBLISHED, find_model_folder
from pretrain.weights.encoder_weights import DEFAULT_BACKBONE
from shards.errors import UserError
from shards.schema import SpectrogramSettings


def load_towers(settings: DownstreamSettings) -> TwoTower:
    """Loads both towers of `settings.weights`: a run folder, a model folder, or "random" (untrained, by the seed).

    Raises:
        UserError: the weights have only one encoder, or the backbone is not that of the weights.
    """
    weights, backbone = settings.weights, settings.backbone
    if weights == "random":
        set_seed(settings.seed)
        encoder = DEFAULT_BACKBONE if backbone == "auto" else backbone
        return TwoTower(TwoTowerConfig(image_encoder=encoder)).eval()
    if weights in PUBLISHED or Path(weights).is_file():
        raise UserError(
            f"weights must be random, a run folder or a model folder, because {settings.benchmark} needs an image and "
            f"a sound tower, got {weights}, which has only an image encoder"
        )
    model = TwoTower.from_pretrained(find_model_folder(Path(weights)))
    if backbone not in ("auto", model.config.image_encoder):
        raise UserError(f"backbone must be auto or that of the weights, {model.config.image_encoder}, got {backbone}")
    return model


@torch.inference_mode()
def prepare_for_whole_inputs(model: TwoTower, image_size: int) -> None:
    """Sets the size of the images, and checks that spectrograms of any length are taken.

    Raises:
        UserError: one of the encoders takes one size only.
    """
    config = model.config
    model.image_tower.trunk.set_input_size((image_size, image_size))
    sound = torch.zeros(1, 1, config.spectrogram.mel_bands, 2 * config.num_frames, dtype=torch.uint8)
    try:
        model.encode_sound(sound.to(model.image_mean.device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"protocol paper embeds whole spectrograms, but the sound encoder {config.sound_encoder} takes "
            f"{config.num_frames} frames only; use --protocol tuned"
        ) from error


def spectrogram_of(model: TwoTower, weights: str, *, force: bool) -> SpectrogramSettings:
    """Spectrogram settings of the clips: those that the model was trained with.

    Raises:
        UserError: they are not published, unless `force`, which takes Earshot's own and has the model convert their
            scale to the one it learned from.
    """
    theirs = model.config.spectrogram
    if theirs.is_published:
        return theirs
    ours = SpectrogramSettings()
    if not force:
        refuse_other_spectrograms(theirs, ours, f"the clips for {weights}")
    model.take_sounds_of(ours.scale)
    return ours
