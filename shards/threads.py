"""How OpenMP's threads wait for each other, chosen by the instructions of the CPU before torch is imported."""

from __future__ import annotations

import os
from pathlib import Path

ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that limit the instructions that oneDNN uses; the first one set counts."""
ISAS_WITHOUT_BF16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
"""Their values under which oneDNN converts bf16 to float32 for every product, which is slower than float32."""

CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAG = "avx512_bf16"


def onednn_may_compute_bf16() -> bool:
    """Whether no environment variable forbids oneDNN the instructions for bf16."""
    limit = next((os.environ[name] for name in ISA_LIMITS if os.environ.get(name)), "")
    return limit.upper() not in ISAS_WITHOUT_BF16


def choose_waiting() -> None:
    """Lets waiting threads sleep on CPUs without bf16; for this process and its children, unless the user chose.

    GNU OpenMP's threads spin at the end of every parallel loop, which beside a busy process takes the core from the
    very thread that they wait for. In float32 a training beside one is 1.8 times as fast if they sleep, and 7 % slower
    alone. With bf16 the loops are short, and sleeping costs 9 % alone and gains nothing beside another process
    (`tests/benchmarks/run.py --only busy`).
    """
    if not (onednn_may_compute_bf16() and _has_bf16()):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _has_bf16() -> bool:
    try:
        return BF16_FLAG in CPU_INFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
