"""What "auto" means: bf16 only where the CPU has instructions for it and oneDNN may use them; a warning elsewhere."""

from __future__ import annotations

import pytest
import torch

from pretrain.precision import resolve_precision
from pretrain.settings.pretraining import Config
from shards.threads import ISA_LIMITS


@pytest.mark.parametrize(
    ("has_instructions", "limits", "chosen"),
    [
        (False, {}, "fp32"),
        (True, {}, "bf16"),
        (True, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "bf16"),
        (True, {"ONEDNN_MAX_CPU_ISA": "avx512_core_amx"}, "bf16"),
        (True, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "fp32"),
        (True, {"ONEDNN_MAX_CPU_ISA": "avx512_core"}, "fp32"),
        (True, {"DNNL_MAX_CPU_ISA": "AVX2"}, "fp32"),
        (True, {"ONEDNN_MAX_CPU_ISA": "DEFAULT", "DNNL_MAX_CPU_ISA": "AVX2"}, "bf16"),
    ],
)
def test_auto_is_what_the_cpu_computes_in(
    has_instructions: bool,
    limits: dict[str, str],
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    for name in ISA_LIMITS:
        monkeypatch.delenv(name, raising=False)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    assert resolve_precision(Config()).precision == chosen
    assert resolve_precision(Config(precision="fp32")).precision == "fp32"
    assert capsys.readouterr().err == ""
    assert resolve_precision(Config(precision="bf16")).precision == "bf16"
    assert ("emulates it" in capsys.readouterr().err) == (chosen == "fp32")
