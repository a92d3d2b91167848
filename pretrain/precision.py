"""The arithmetic of the networks: what "auto" means here, and autocast under it."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal, TypeVar

import torch

from pretrain.settings.training import RunSettings

Settings = TypeVar("Settings", bound=RunSettings)

ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that limit the instructions that oneDNN uses; the first one set counts."""
ISAS_WITHOUT_BF16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
"""Their values under which oneDNN converts bf16 to float32 for every product, which is slower than float32."""


def resolve_precision(settings: Settings) -> Settings:
    """Settles "auto": bf16 where the device computes in it, fp32 elsewhere."""
    return dataclasses.replace(settings, precision=resolved(settings.precision))


def resolved(precision: Literal["auto", "bf16", "fp32"]) -> Literal["bf16", "fp32"]:
    """The precision itself, and for "auto" bf16 where the device computes in it, fp32 elsewhere."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = cpu_computes_bf16()
    return "bf16" if has_bf16 else "fp32"


def cpu_computes_bf16() -> bool:
    """Whether products of bf16 are computed by instructions for them: the CPU has these, and oneDNN may use them."""
    limit = next((os.environ[name] for name in ISA_LIMITS if os.environ.get(name)), "")
    has_instructions = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return bool(has_instructions) and limit.upper() not in ISAS_WITHOUT_BF16


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context for matrix products and convolutions in `precision`, "bf16" or "fp32"; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
