"""How waiting threads wait: asleep on CPUs without bf16, as the user says where the user says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards import threads

WITH_BF16 = "flags : fpu avx2 avx512f avx512_bf16\n"
WITHOUT = "flags : fpu avx2 avx512f\n"


@pytest.mark.parametrize(
    ("cpu", "variables", "policy"),
    [
        (WITH_BF16, {}, None),
        (WITHOUT, {}, "PASSIVE"),
        (None, {}, "PASSIVE"),
        (WITH_BF16, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "PASSIVE"),
        (WITHOUT, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
    ],
)
def test_threads_sleep_where_a_step_is_long(
    cpu: str | None, variables: dict[str, str], policy: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(variables)
    monkeypatch.setattr(threads.os, "environ", environment)
    monkeypatch.setattr(threads, "CPU_INFO", tmp_path / "cpuinfo")
    if cpu is not None:
        (tmp_path / "cpuinfo").write_text(cpu)
    threads.choose_waiting()
    assert environment.get("OMP_WAIT_POLICY") == policy
