"""Writes and reads trained classifiers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME
from pretrain.weights.model_folder import MODEL_FOLDER
from shards.atomic_files import write_bytes_atomically
from shards.errors import UserError, disk_remedy
from shards.raster_settings import RasterSettings


def encoder_record(
    name: str, mean: Tensor | Sequence[float], std: Tensor | Sequence[float], rasters: RasterSettings
) -> dict[str, Any]:
    """What `config.json` states of a network's image encoder, so that other runs can start from it.

    Args:
        name: of the encoder, in `ENCODERS`.
        mean, std: normalisation of the three channels.
        rasters: how rasters became RGB.
    """
    record: dict[str, Any] = {
        "image_encoder": name,
        "image_mean": torch.as_tensor(mean).flatten().tolist(),
        "image_std": torch.as_tensor(std).flatten().tolist(),
    }
    return record | ({"rasters": rasters.to_dict()} if rasters != RasterSettings() else {})


Network = TypeVar("Network", bound=nn.Module)


def write_network(run_folder: Path, state: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Writes `model.safetensors` and `config.json` of a network to `model/`.

    Raises:
        UserError: the files can't be written; the previous ones are kept.
    """
    folder = run_folder / MODEL_FOLDER
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    contents = {
        WEIGHTS_NAME: safetensors.torch.save(tensors),
        CONFIG_NAME: (json.dumps(record, indent=1) + "\n").encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_bytes_atomically(folder / name, content)
    except OSError as error:
        raise UserError(
            f"the network can't be written to {folder}: {error.strerror or error}; {disk_remedy(error)}, then resume "
            "with --resume"
        ) from error


def read_classifier(run_folder: Path, module: Network) -> Network:
    """Loads the weights saved by a run into `module`.

    Raises:
        UserError: there are no weights, or they belong to another classifier.
    """
    path = run_folder / MODEL_FOLDER / WEIGHTS_NAME
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        module.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError) as error:
        message = " ".join(str(error).split())[:200]
        raise UserError(
            f"the classifier in {path} can't be loaded: {message}; start again with another --out"
        ) from error
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
