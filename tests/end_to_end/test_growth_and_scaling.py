"""The benchmarks of growth and scaling: they run as a user starts them, and their arithmetic is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.growth import TASKS, exponent
from benchmarks.scaling import ENCODERS, GATHER, GRADIENTS, LOSS, WAIT, Cluster, bottleneck, simulate
from commands import python, run

EVEN = Cluster(spread=0.0)
"""Every batch takes its loader equally long."""


@pytest.mark.slow
def test_growth_measures_every_task_and_says_how_it_grows(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    result = run(python("tests/benchmarks/growth.py", "--largest", "4", "--json", file), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    assert record["tasks"].keys() == record["exponents"].keys() == TASKS.keys()
    for name, figures in record["tasks"].items():
        assert figures.keys() == {"3", "4"}
        assert all(figure["seconds"] > 0 for figure in figures.values())
        assert f"{name}, s" in result.stdout


def test_an_exponent_is_that_of_the_last_factor_of_ten() -> None:
    figures = {3: {"seconds": 5.0}, 4: {"seconds": 0.1}, 5: {"seconds": 10.0}}
    assert exponent(figures, "seconds") == pytest.approx(2)
    assert exponent({3: {"seconds": 1.0}}, "seconds") is None
    assert exponent({3: {"seconds": 1.0}, 4: {"seconds": 0.0}}, "seconds") is None


def test_one_node_exchanges_nothing_and_is_as_fast_as_its_encoders() -> None:
    parts = simulate(EVEN, 8)
    assert (parts[WAIT], parts[GATHER], parts[GRADIENTS]) == (0, 0, 0)
    assert parts[ENCODERS] == pytest.approx(128 * 0.114)
    assert parts["step"] == pytest.approx(parts[ENCODERS] + parts[LOSS])
    assert bottleneck(parts) == "none: the encoders"


def test_too_few_cores_hold_all_up_by_what_they_lack() -> None:
    parts = simulate(Cluster(spread=0.0, cores_a_gpu=5), 1)
    assert parts["step"] == pytest.approx(128 * 1.11 / 5, rel=0.02)
    assert parts[LOSS] == pytest.approx(6 * 128**2 * 128 / 50e12 * 1e3)
    assert bottleneck(parts) == WAIT


def test_a_file_system_gives_all_nodes_together_no_more_than_it_has() -> None:
    parts = simulate(Cluster(spread=0.0, storage_gb=20), 512)
    assert parts["pairs_per_second"] == pytest.approx(20e9 / 104e3, rel=0.02)
    assert bottleneck(parts) == WAIT


def test_batches_that_vary_cost_more_the_more_gpus_wait_for_the_slowest() -> None:
    uneven = Cluster(spread=0.5, cores_a_gpu=12, loss_tflops=1e9, network_gbit=1e9, latency_us=0)
    waits = [simulate(uneven, gpus)[WAIT] for gpus in (1, 8, 64)]
    assert waits[0] < waits[1] < waits[2]
    assert simulate(uneven, 8) == simulate(uneven, 8)


def test_rings_send_what_they_are_said_to() -> None:
    parts = simulate(Cluster(spread=0.0, latency_us=0, gradient_mb=9000), 64)
    a_millisecond = 400 / 8 * 1e6
    embeddings = 2 * 64 * 128 * 128 * 4 * 7 / 8
    assert parts[GATHER] == pytest.approx(3 * embeddings / a_millisecond)
    assert parts[GRADIENTS] == pytest.approx(2 * 9e9 * 7 / 8 / a_millisecond - parts[ENCODERS] / 3)
    assert bottleneck(parts) == GRADIENTS
