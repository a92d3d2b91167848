"""The benchmark as a user starts it, in its smoke run: all is measured, and every ratio is of measured figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import (
    building,
    busy_machine,
    demo_pipeline,
    distances_to_places,
    evaluating,
    frozen_heads,
    landcover_loading,
    loader,
    loss_memory,
    model_step,
    opening,
    ranking_speed,
    search_speed,
    small_retrieval,
    starting,
    startup,
    time_to_rank,
    training_loop,
)
from benchmarks import run as run_module
from commands import python, run
from conftest import is_required, only_if_named

WHOLE = "benchmarks"
"""What EARSHOT_REQUIRE names to run every suite: trainings and demos take ten minutes of two cores."""
SHORT_SUITES = (loader, ranking_speed, search_speed, small_retrieval, opening)

pytestmark = pytest.mark.slow

MOST_SECONDS = 900.0


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """What a smoke run prints, and its JSON."""
    folder = tmp_path_factory.mktemp("benchmark")
    words = ["--quick", "--json", folder / "all.json"]
    if not is_required(WHOLE):
        words += ["--only", *(suite.SUITE for suite in SHORT_SUITES)]
    result = run(python("tests/benchmarks/run.py", *words), cwd=folder, timeout_seconds=MOST_SECONDS)
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads((folder / "all.json").read_text())


def test_it_measures_everything_and_says_where(quick_run: tuple[str, dict]) -> None:
    only_if_named(WHOLE, "all suites take ten minutes of two cores, and the other tests run the short ones")
    printed, record = quick_run
    assert {"machine", "quick", "rows", "targets"} <= record.keys()
    assert {"cpu", "cores", "torch", "cpu_has_bf16", "cuda", "load_at_start"} <= record["machine"].keys()
    modules = (
        loader,
        model_step,
        training_loop,
        loss_memory,
        ranking_speed,
        search_speed,
        startup,
        frozen_heads,
        small_retrieval,
        time_to_rank,
        opening,
        starting,
        busy_machine,
        building,
        evaluating,
        landcover_loading,
        demo_pipeline,
        distances_to_places,
    )
    assert {row["suite"] for row in record["rows"]} == {module.SUITE for module in modules}
    for row in record["rows"]:
        assert row["figures"] or row["why_not"], row
    assert record["machine"]["torch"] in printed.replace("\n", "")
    assert "QUICK" in printed


def test_nothing_that_is_measured_has_the_threads_of_the_tests() -> None:
    """The tests' own set-up leaves one thread to every process that they start."""
    folder = Path(run_module.__file__).parent
    code = f"import os, sys; sys.path.insert(0, {str(folder.parent)!r}); before = dict(os.environ); "
    code += "import benchmarks.run; print(sorted(os.environ.items() ^ before.items()))"
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = subprocess.run(
        [sys.executable, "-c", code], env=clean, cwd=folder.parents[1], capture_output=True, text=True, check=True
    )
    assert "THREADS" not in result.stdout


def test_the_loop_has_its_share_of_waiting_and_its_bottleneck(quick_run: tuple[str, dict]) -> None:
    only_if_named(WHOLE, "its suites train")
    loops = [row["figures"] for row in quick_run[1]["rows"] if row["suite"] == training_loop.SUITE]
    assert len(loops) == 2
    for figures in loops:
        assert 0 <= figures["waiting_share"] <= 1
        assert figures["pairs_per_second"] > 0
        assert figures["steps"] >= 3
    if quick_run[1]["machine"]["cpu_has_bf16"]:
        assert all(figures["bottleneck"] for figures in loops)


def test_ratios_are_of_measured_figures(quick_run: tuple[str, dict]) -> None:
    record = quick_run[1]
    figures = {(row["suite"], row["case"]): row["figures"] for row in record["rows"]}
    judged = 0
    for target in record["targets"]:
        top, bottom = target["numerator"], target["denominator"]
        if target["value"] is None:
            continue  # of a size that the smoke run leaves out
        value = figures[top["suite"], top["case"]][top["name"]]
        if bottom:
            value /= figures[bottom["suite"], bottom["case"]][bottom["name"]]
        assert target["value"] == value
        assert target["met"] == (value <= target["bound"] if target["at_most"] else value >= target["bound"])
        judged += 1
    assert judged >= 2


def test_the_rival_reads_the_same_pairs_and_more_bytes(quick_run: tuple[str, dict]) -> None:
    rows = {row["case"]: row["figures"] for row in quick_run[1]["rows"] if row["suite"] == loader.SUITE}
    ours, theirs = rows[loader.OURS], rows[loader.THEIRS]
    assert "1024 × 1024 px, JPEG quality 90" in theirs["tiles"]
    for figures in (ours, theirs):
        assert 0 < figures["bytes_used"] < figures["bytes_read"]
    assert ours["bytes_read"] < theirs["bytes_read"]
    assert set(loader.STAGES) == {name.removesuffix(", ms") for name in ours if name.endswith(", ms")}
