"""The estimate of energy on a card: by rated power where it is known, and never by a guess."""

from __future__ import annotations

import pytest
import torch

from pretrain import distributed
from pretrain.releasing.energy import estimate_energy, rated_watts
from pretrain.training.hardware import hardware


def test_the_energy_of_a_part_of_a_device_is_not_guessed() -> None:
    assert estimate_energy([({"NVIDIA A100-SXM4-40GB": 3}, 10.0)]).kilowatt_hours == pytest.approx(12.0)
    two_kinds = {"NVIDIA H100 PCIe": 1, "NVIDIA H100 80GB HBM3": 1}
    assert estimate_energy([(two_kinds, 1.0)]).kilowatt_hours == pytest.approx(1.05)
    mixed = estimate_energy([({"Tesla T4": 1}, 5.0), ({"AMD EPYC": 1}, 10.0)])
    assert mixed.kilowatt_hours is None
    assert "AMD EPYC" in mixed.assumption
    for name in ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA RTX A4000", "NVIDIA GH200 480GB", "NVIDIA T400 4GB"):
        assert rated_watts(name) is None
    assert [rated_watts(f"NVIDIA {name}") for name in ("L4", "L40S", "A40", "GeForce RTX 3090 Ti")] == [
        72,
        350,
        300,
        450,
    ]
    assert estimate_energy([]).kilowatt_hours is None
    assert estimate_energy([({"AMD EPYC": 2}, 3.0)], watts=150).kilowatt_hours == pytest.approx(0.9)


def test_the_energy_of_several_starts_is_summed() -> None:
    energy = estimate_energy([({"Tesla T4": 2}, 10.0), ({"NVIDIA L4": 1}, 100.0)])
    assert energy.kilowatt_hours == pytest.approx((2 * 70 * 10 + 72 * 100) / 1000)
    assert energy.assumption.startswith("(2 × 70 W) × 10 h + (1 × 72 W) × 100 h, ")


def test_processes_of_one_machine_share_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [("AMD EPYC", "one"), ("AMD EPYC", "one"), ("AMD EPYC", "two"), ("Intel Xeon", "three")]
    monkeypatch.setattr(distributed, "gather_objects", lambda own: processes)
    assert hardware(torch.device("cpu")) == {"AMD EPYC": 2, "Intel Xeon": 1}
