"""Each encoder as a folder that `timm.create_model` loads by name: timm's config.json and the weights alone."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pretrain.cards import card
from pretrain.encoders.encoder import Encoder
from pretrain.encoders.timm_form import TimmForm
from pretrain.model import TwoTower
from pretrain.model_config import CENTRAL_FRACTION, TwoTowerConfig, preprocessing
from pretrain.model_files import CARD_NAME, CONFIG_NAME, NOTICE_NAME, WEIGHTS_NAME
from pretrain.releasing.facts import Facts
from pretrain.releasing.stored_weights import write_weights
from pretrain.weights.same_embeddings import Probe, require_close, require_same
from shards.errors import UserError

ROUNDING = 1e-5
"""Tolerance, as a fraction of the largest feature, of networks that compute the same function in another order."""

MODALITIES = ("image", "sound")


@dataclass(frozen=True)
class TimmFolder:
    """The folder of one encoder.

    Attributes:
        modality: "image" or "sound".
        encoder: the encoder.
        form: what it is in timm.
    """

    modality: str
    encoder: Encoder
    form: TimmForm

    @property
    def name(self) -> str:
        """Name of the folder in the release."""
        return folder_name(self.modality)

    @property
    def names(self) -> list[str]:
        """Names of its files, relative to the release."""
        return [f"{self.name}/{name}" for name in (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, NOTICE_NAME)]


def folder_name(modality: str) -> str:
    """Name of the folder that holds the encoder of a modality."""
    return f"{modality}-encoder-timm"


def hub_name(release: str, modality: str) -> str:
    """Name on the hub of the folder that holds the encoder of a modality, beside that of the release."""
    return f"{release}-{modality}-encoder"


def timm_folders(towers: TwoTower) -> tuple[list[TimmFolder], list[str]]:
    """Returns the folders of the encoders that timm can build, and why there is none of the others."""
    folders, missing = [], []
    for modality, tower in zip(MODALITIES, (towers.image_tower, towers.sound_tower), strict=True):
        form = tower.trunk.timm_form() if has_timm() else None
        if not has_timm():
            missing.append(f"{folder_name(modality)}, because timm is not installed, so it could not be checked")
        elif form is None:
            missing.append(f"{folder_name(modality)}, because timm can't build {tower.trunk.name} from its registry")
        else:
            folders.append(TimmFolder(modality, tower.trunk, form))
    return folders, missing


def timm_code(name: str) -> str:
    """Code that loads a folder, or a model on the hub, by timm: `local-dir:FOLDER` or `hf-hub:OWNER/NAME`."""
    return f"import timm\n\nencoder = timm.create_model({json.dumps(name, ensure_ascii=False)}, pretrained=True)"


def write_timm_folder(release: Path, folder: TimmFolder, facts: Facts, licence: dict[str, Any], notice: str) -> None:
    """Writes an encoder's folder into a release."""
    path = release / folder.name
    path.mkdir()
    record = timm_config(folder, facts.model, str(licence.get("license", "other")))
    (path / CONFIG_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write_weights(path / WEIGHTS_NAME, folder.form.state, half=facts.is_half, metadata={"format": "pt"})
    front = "\n".join([f"{name}: {json.dumps(value)}" for name, value in licence.items()] + ["library_name: timm"])
    (path / CARD_NAME).write_text(_card(folder, facts, front), encoding="utf-8")
    (path / NOTICE_NAME).write_text(notice, encoding="utf-8")


def _card(folder: TimmFolder, facts: Facts, front: str) -> str:
    is_trained = facts.is_trained and (folder.modality == "image" or facts.model.sound_trained)
    origin = "trained with Earshot without labels" if is_trained else "with initial weights: it was never trained"
    inputs = (
        "Images are prepared by timm's own evaluation transform (`timm.data.resolve_model_data_config`), with the "
        "central crop and the normalisation of training."
        if folder.modality == "image"
        else "Inputs are log-mel spectrograms, computed and pooled as `earshot.preprocessing` in `config.json` says, "
        "with bytes / 255 normalised by `mean` and `std`."
    )
    return card(
        f"The {folder.modality} encoder of audiovisual towers",
        f"{folder.encoder.name}, {origin}. It returns {folder.encoder.num_features} "
        "features before the projection to the joint embedding. Rights: see `NOTICE.md`.",
        facts.generated_world if is_trained else "",
        f"```python\n{timm_code('local-dir:FOLDER')}   # or hf-hub:OWNER/NAME\n```",
        inputs,
        front_matter=front,
    )


def timm_config(folder: TimmFolder, model: TwoTowerConfig, licence: str) -> dict[str, Any]:
    """Returns timm's config.json, with Earshot's `preprocessing` under a key that timm ignores."""
    if folder.modality == "image":
        size = [3, model.image_size, model.image_size]
        mean, std, crop = list(model.image_mean), list(model.image_std), CENTRAL_FRACTION
    else:
        pooling = model.sound_pooling
        size = [1, model.spectrogram.mel_bands // pooling, model.num_frames // pooling]
        mean, std, crop = [model.spectrogram_mean / 255], [model.spectrogram_std / 255], 1.0
    return {
        "architecture": folder.form.architecture,
        "num_classes": 0,
        "num_features": folder.encoder.num_features,
        "model_args": folder.form.arguments,
        "pretrained_cfg": {
            "tag": "earshot",
            "custom_load": False,
            "input_size": size,
            "fixed_input_size": "img_size" in folder.form.arguments,
            "interpolation": "box",
            "crop_pct": crop,
            "crop_mode": "center",
            "mean": mean,
            "std": std,
            "num_classes": 0,
            "pool_size": None,
            "first_conv": folder.form.first_conv,
            "classifier": folder.form.classifier,
            "license": licence,
            "description": f"{folder.modality} encoder {folder.encoder.name} of audiovisual towers by Earshot",
        },
        "earshot": {"preprocessing": preprocessing(model)[folder.modality]},
    }


@torch.inference_mode()
def check_timm_folder(release: Path, folder: TimmFolder, towers: TwoTower, probes: list[Probe]) -> str:
    """Loads an encoder's folder by timm and compares its features with the tower's.

    Returns:
        What was checked, in words.

    Raises:
        UserError: timm can't load it, or a feature differs.
    """
    import timm

    try:
        network: nn.Module = timm.create_model(f"local-dir:{release / folder.name}", pretrained=True).eval()
    except (RuntimeError, OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        message = " ".join(str(error).split())[:300]
        raise UserError(f"{folder.name} can't be loaded by timm, so nothing was written: {message}") from error
    is_image = folder.modality == "image"
    for probe in probes:
        inputs = towers.prepare_images(probe.images) if is_image else towers.prepare_sounds(probe.sounds)
        ours: Tensor = folder.encoder(inputs)
        what = f"{folder.modality} features of {probe.name} by timm from {folder.name}"
        if folder.form.is_exact:
            require_same(ours, network(inputs), what)
        else:
            require_close(ours, network(inputs), ROUNDING, what)
    how = "bit for bit" if folder.form.is_exact else f"within {ROUNDING:g} of the largest feature"
    return f"{folder.name} by timm, {how}"


def has_timm() -> bool:
    """Whether timm is installed, without importing it."""
    return importlib.util.find_spec("timm") is not None
