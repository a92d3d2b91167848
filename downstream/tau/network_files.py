"""A trained network of audiovisual scene classification on disk, and its acoustic encoder for other strategies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from downstream.running.classifier_files import encoder_record, write_network
from downstream.tau.benchmark import CLASSES
from downstream.tau.joint_network import AcousticEncoder, JointNetwork
from downstream.tau.kind import TauRunSettings
from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME
from pretrain.weights.model_folder import MODEL_FOLDER
from shards.errors import UserError
from shards.records import read_json_as

ACOUSTIC = "acoustic."
"""Prefix of the acoustic encoder's tensor names."""


@dataclass(frozen=True)
class _Description:
    """`config.json`, as far as it is read."""

    features: str
    strategy: str


def write_joint_network(run_folder: Path, network: JointNetwork, settings: TauRunSettings) -> None:
    """Writes `model/`: `model.safetensors` (all parts by name) and `config.json` (their description).

    Raises:
        UserError: it can't be written; the former ones stay.
    """
    tau = settings.tau
    record: dict[str, Any] = {
        "benchmark": settings.benchmark,
        "classes": CLASSES,
        "strategy": tau.strategy,
        "features": tau.features,
        "visual": tau.visual,
        "weights": settings.weights,
        "image_size": settings.image_size,
    }
    if (visual := network.visual) is not None:
        record |= encoder_record(visual.trunk.name, visual.mean, visual.std, visual.rasters)
    write_network(run_folder, network.state_dict(), record)


def read_network(run_folder: Path, network: JointNetwork) -> JointNetwork:
    """Gives `network` the weights that a run kept.

    Raises:
        UserError: there are none, or they are of another network.
    """
    try:
        network.load_state_dict(_tensors(run_folder))
    except RuntimeError as error:
        message = " ".join(str(error).split())[:200]
        raise UserError(
            f"the network in {run_folder / MODEL_FOLDER} can't be loaded: {message}; start again with another --out"
        ) from error
    return network


def read_acoustic_encoder(run_folder: Path, features: str) -> AcousticEncoder:
    """The acoustic encoder of a finished run, with the normalisation that it was trained under.

    Raises:
        UserError: the run is missing, its strategy is not audio, or its features differ.
    """
    tensors = {
        name.removeprefix(ACOUSTIC): value for name, value in _tensors(run_folder).items() if name.startswith(ACOUSTIC)
    }
    description = read_json_as(
        _Description, run_folder / MODEL_FOLDER / CONFIG_NAME, "give a run of tau.strategy audio"
    )
    heard, strategy = description.features, description.strategy
    if not tensors:
        raise UserError(f"{run_folder} holds no acoustic encoder; give a run of tau.strategy audio")
    if strategy != "audio":
        raise UserError(
            f"the acoustic encoder in {run_folder} was trained under tau.strategy {strategy}, together with what it "
            "was joined to; give a run of tau.strategy audio"
        )
    if heard != features:
        raise UserError(f"tau.features must be that of {run_folder}, {heard}, got {features}")
    encoder = AcousticEncoder(np.stack([tensors["mean"].numpy(), tensors["std"].numpy()]))
    encoder.load_state_dict(tensors)
    return encoder


def _tensors(run_folder: Path) -> dict[str, Tensor]:
    path = run_folder / MODEL_FOLDER / WEIGHTS_NAME
    try:
        return dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        message = " ".join(str(error).split())[:200]
        raise UserError(f"no network in {path}: {message}; give the folder of a finished run") from error
