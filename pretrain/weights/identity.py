"""The identity of weights: a checksum of their file, since the file at a path can change."""

from __future__ import annotations

from pathlib import Path

from pretrain.model_files import WEIGHTS_NAME, find_model_folder, is_model_name
from shards.checksums import file_sha256

PARTS = (WEIGHTS_NAME, "image_trunk.safetensors", "sound_trunk.safetensors")
"""Files of a release that are identified by the checksum of the `model.safetensors` beside them."""


def weights_sha256(weights: str | Path) -> str | None:
    """Returns the SHA-256 of the `model.safetensors` that a setting names, in hexadecimal; call it before loading.

    Args:
        weights: a run folder, a model folder, a model by name, or a file of a release.

    Returns:
        None for weights that are not Earshot towers: random, imagenet, or a third-party file.

    Raises:
        UserError: the folder has no model.
    """
    path = Path(weights)
    if path.is_dir() or is_model_name(weights):
        return file_sha256(find_model_folder(path) / WEIGHTS_NAME)
    whole = path.parent / WEIGHTS_NAME
    return file_sha256(whole) if path.name in PARTS and path.is_file() and whole.is_file() else None
