"""Loads a trained model by its folder or its name on the hub: `earshot.load`."""

from __future__ import annotations

import os
from numbers import Real
from pathlib import Path
from typing import Literal

import torch

from pretrain.precision import resolved
from retrieval.audiovisual_model import AudiovisualModel
from retrieval.embedding import load_model
from retrieval.options import check_at_least, check_choice
from shards.errors import UserError


def load(
    name_or_folder: str | Path,
    *,
    device: str | torch.device = "auto",
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    crops: int = 10,
    max_seconds: float = 600.0,
    bands: tuple[int, int, int] | None = None,
    force: bool = False,
) -> AudiovisualModel:
    """Loads a trained model, in evaluation mode.

    Args:
        name_or_folder: a run folder, a model folder, or a model on the hub (OWNER/NAME).
        device: "cpu", "cuda", or "auto" (the GPU if there is one).
        precision: arithmetic of the networks: "fp32" is the same everywhere; "bf16" is faster where the hardware has it
            ("auto" asks).
        crops: evenly spaced sound crops whose embeddings are averaged.
        max_seconds: maximum seconds of a sound; from longer ones, evenly spread parts are used.
        bands: bands of rasters for red, green and blue, in place of those that the model learned from.
        force: take sounds though the model's spectrograms were computed in a way that is not published: Earshot's own,
            with their scale converted; the STFT then differs.

    Raises:
        TypeError: an argument is of another type.
        UserError: there are no weights, the device is not available, or a value is out of range.
    """
    if not isinstance(name_or_folder, str | os.PathLike):
        raise TypeError(
            "name_or_folder must be a run folder, a model folder, or the name of a model, as a str or a Path; got "
            f"{name_or_folder!r}"
        )
    check_choice("precision", precision, ("fp32", "bf16", "auto"))
    check_at_least(1, crops=crops)
    if not isinstance(max_seconds, Real):
        raise TypeError(f"max_seconds must be a number of seconds, got {max_seconds!r}")
    if not max_seconds > 0:
        raise UserError(f"max_seconds must be > 0, got {max_seconds}")
    weights = Path(name_or_folder)
    towers = load_model(weights, str(device))
    return AudiovisualModel(
        towers, weights, precision=resolved(precision), crops=crops, max_seconds=max_seconds, bands=bands, force=force
    )
