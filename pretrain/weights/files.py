"""Weights files from third parties, read as tensors by name; only tensors are unpickled."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from shards.errors import UserError
from shards.zip_files import refuse_bombs

MOST_EXPANSION = 4
"""How many times its size a file may unpack to; torch.save does not compress."""
WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher", "net")
"""Names under which training scripts nest the weights in a file; the first one present is used."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors in a .safetensors or a PyTorch file (.pth, .pt, .ckpt), by name, on the CPU.

    Raises:
        UserError: the file can't be read, holds something else, or holds non-finite values.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the weights file in it")
    if not path.is_file():
        raise UserError(f"no weights at {path}: no such file")
    refuse_bombs(path, MOST_EXPANSION * path.stat().st_size)
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except MemoryError:
        raise
    except Exception as error:  # torch raises whatever the file makes its unpickler raise
        # Its message is omitted: torch's advises users to unpickle whatever is in the file.
        raise UserError(
            f"{path} can't be read as weights ({type(error).__name__}: damaged, or it holds more than tensors); give a "
            ".safetensors file, or one in which torch.save saved a state_dict() and nothing else"
        ) from error
    while isinstance(state, dict):
        inner = next((state[name] for name in WRAPPERS if isinstance(state.get(name), dict)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, dict):
        raise UserError(f"{path} holds a {type(state).__name__}, not named tensors; give a saved state_dict()")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} has no named tensors; give a saved state_dict()")
    for name, value in tensors.items():
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            shape = " x ".join(map(str, value.shape))
            raise UserError(f"{path}: {name} states {shape} values, more than the file holds; download it again")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds non-finite values; its training must have diverged")
    return tensors
