"""The arithmetic of the networks: what "auto" means here, and autocast under it."""

from __future__ import annotations

import dataclasses
import sys
from typing import Literal, TypeVar

import torch

from pretrain.settings.training import RunSettings
from shards.threads import onednn_may_compute_bf16

Settings = TypeVar("Settings", bound=RunSettings)


def resolve_precision(settings: Settings) -> Settings:
    """Settles "auto": bf16 where the device computes in it, fp32 elsewhere."""
    return dataclasses.replace(settings, precision=resolved(settings.precision))


def resolved(precision: Literal["auto", "bf16", "fp32"]) -> Literal["bf16", "fp32"]:
    """The precision itself, and for "auto" bf16 where the device computes in it, fp32 elsewhere.

    Warns of bf16 on a device that emulates it.
    """
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = cpu_computes_bf16()
    if precision == "bf16" and not has_bf16:
        words = (
            "warning: this device has no instructions for bf16 and emulates it, many times slower than fp32; use auto"
        )
        print(words, file=sys.stderr, flush=True)
    if precision != "auto":
        return precision
    return "bf16" if has_bf16 else "fp32"


def cpu_computes_bf16() -> bool:
    """Whether products of bf16 are computed by instructions for them: the CPU has these, and oneDNN may use them."""
    has_instructions = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return bool(has_instructions) and onednn_may_compute_bf16()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context for matrix products and convolutions in `precision`, "bf16" or "fp32"; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
