"""The arithmetic of the networks: what "auto" means here, and autocast under it."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch

from pretrain.settings.training import RunSettings

Settings = TypeVar("Settings", bound=RunSettings)


def resolve_precision(settings: Settings) -> Settings:
    """Settles "auto": bf16 where the device computes in it, fp32 elsewhere."""
    if settings.precision != "auto":
        return settings
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return dataclasses.replace(settings, precision="bf16" if has_bf16 else "fp32")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context for matrix products and convolutions in `precision`, "bf16" or "fp32"; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
