"""`tests/gpu/run.sh` where there is no GPU: what is skipped has a reason, and what fails is reported and counted."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
from commands import PATIENCE_SECONDS, REPOSITORY, environment
from gpu.bottlenecks import named_bottlenecks
from gpu.closeness import require_close
from gpu.items import CHECKS, CUDA, TIMINGS
from gpu.loop_timing import rates

ITEMS = (*CHECKS, *TIMINGS)
NEEDING_CUDA = {item.name for item in ITEMS if CUDA in item.needs}

HIDING = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_others(name, path=None, target=None):
    return None if name.partition(".")[0] == "webdataset" else find(name, path, target)
PathFinder.find_spec = staticmethod(find_others)
"""
"""A `sitecustomize` that hides a package which is installed."""

IN_A_PROCESS = """
import sys
from pathlib import Path
from gpu.isolated import carry_out
from gpu.items import Item, Place
if __name__ == "__main__":
    seconds = 2 if sys.argv[1] == "hang" else 600
    result = carry_out(Item("item", f"misbehaving:{sys.argv[1]}"), Place("cpu", Path.cwd()), seconds)
    print(result.outcome, "|", result.reason)
"""

MISBEHAVING = """
import os, subprocess, time
from gpu.items import Skipped
def crash(place): os.abort()
def hang(place):
    sleeper = subprocess.Popen(["sleep", "1000"])
    (place.folder / "sleeper").write_text(str(sleeper.pid))
    time.sleep(1000)
def skip(place): raise Skipped("no such card")
def fail(place): assert 1 == 2, "one is not two"
def print_and_pass(place):
    print("not in the table")
    return {"answer": 42}
"""


def run_on_the_cpu(folder: Path, *words: str | Path, **more: str) -> tuple[int, dict, str]:
    """Exit status, JSON and table of `tests/gpu/run.sh`."""
    command = [REPOSITORY / "tests" / "gpu" / "run.sh", "--json", folder / "all.json", *words]
    result = subprocess.run(
        [*map(str, command)],
        env=environment(PYTHON=sys.executable, **more),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (folder / "all.json").is_file(), result.stderr
    return result.returncode, json.loads((folder / "all.json").read_text()), result.stdout


def results_of(record: dict) -> dict[str, dict]:
    return {result["name"]: result for result in (*record["checks"], *record["timings"])}


def test_every_item_has_a_function_and_a_name_of_its_own() -> None:
    assert len({item.name for item in ITEMS}) == len(ITEMS)
    assert all(callable(resolve_name(item.function)) for item in ITEMS)


def test_what_is_missing_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    chosen = [*sorted(NEEDING_CUDA), "losses", "loader", "exact resume", "loss"]
    status, record, table = run_on_the_cpu(tmp_path, "--only", *chosen, PYTHONPATH=str(tmp_path))
    assert status == 0
    results = results_of(record)
    assert results.keys() == set(chosen)
    for name in NEEDING_CUDA:
        assert results[name]["outcome"] == "skipped"
        assert CUDA in results[name]["reason"]
    for name in ("loader", "exact resume"):
        assert (results[name]["outcome"], results[name]["reason"]) == ("skipped", "missing: webdataset")
    for name in ("losses", "loss"):
        assert results[name]["outcome"] == "passed"
        assert results[name]["figures"]
    assert record["versions"]["webdataset"] is None
    assert record["counts"] == {"passed": 2, "FAILED": 0, "skipped": len(chosen) - 2}
    assert [target["met"] for target in record["targets"]] == [None, None]
    assert "missing: webdataset" in table
    assert "webdataset MISSING" in table
    assert "NO GPU" in table


def test_what_fails_is_reported_and_ends_in_status_1(tmp_path: Path) -> None:
    (tmp_path / "faiss.py").write_text("raise RuntimeError('built for another CUDA')\n")
    chosen = ["FAISS is exact", "loss"]
    status, record, table = run_on_the_cpu(tmp_path, "--only", *chosen, PYTHONPATH=str(tmp_path))
    assert status == 1
    results = results_of(record)
    assert results["FAISS is exact"]["outcome"] == "FAILED"
    assert results["FAISS is exact"]["reason"] == "RuntimeError: built for another CUDA"
    assert results["loss"]["outcome"] == "passed"
    assert "1 passed, 1 FAILED, 0 skipped" in table


def test_what_the_time_does_not_allow_is_left_out_by_name(tmp_path: Path) -> None:
    status, record, _ = run_on_the_cpu(tmp_path, "--minutes", "0.1", "--only", "losses", "loss")
    assert status == 0
    for result in results_of(record).values():
        assert result["outcome"] == "skipped"
        assert "more than --minutes leaves" in result["reason"]


@pytest.mark.parametrize(
    ("function", "outcome"),
    [
        ("crash", "FAILED | its process ended with status -6"),
        ("hang", "FAILED | not finished after 2 s"),
        ("skip", "skipped | no such card"),
        ("fail", "FAILED | AssertionError: one is not two"),
        ("print_and_pass", "passed | "),
    ],
)
def test_an_item_that_misbehaves_ends_alone(function: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "misbehaving.py").write_text(MISBEHAVING)
    (tmp_path / "start.py").write_text(IN_A_PROCESS)
    path = f"{REPOSITORY}:{REPOSITORY / 'tests'}:{tmp_path}"
    result = subprocess.run(
        [sys.executable, "start.py", function],
        env=environment(PYTHONPATH=path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.stdout == f"{outcome}\n", result.stderr
    if function == "hang":
        left = Path("/proc", (tmp_path / "sleeper").read_text(), "stat")
        assert not left.exists() or left.read_text().rpartition(")")[2].split()[0] == "Z"


def test_carried_wheels_leave_what_is_installed_alone(tmp_path: Path) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    for name, tag in (("carried_example", "py3-none-any"), ("numpy", "py3-none-any"), ("unfit", "cp27-none-win32")):
        with zipfile.ZipFile(wheels / f"{name}-99.0-{tag}.whl", "w") as wheel:
            folder = f"{name}-99.0.dist-info"
            wheel.writestr(f"{name}.py", "carried = True\n")
            wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
            wheel.writestr(f"{folder}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
            wheel.writestr(f"{folder}/RECORD", "")
    command = [sys.executable, str(REPOSITORY / "tests" / "gpu" / "carried_wheels.py"), str(wheels), str(target)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    assert (target / "carried_example.py").is_file()
    assert not (target / "numpy.py").exists()
    assert "3 wheels" in result.stdout
    assert "1 of packages that are installed" in result.stdout
    assert "refused: unfit-99.0-cp27-none-win32.whl" in result.stdout


def test_rates_leave_the_warm_up_out_and_weigh_lines_by_their_steps() -> None:
    lines = [
        {"split": "train", "step": 1, "pairs_per_second": 1.0, "waiting_for_data": 1.0},
        {"split": "train", "step": 10, "pairs_per_second": 10.0, "waiting_for_data": 1.0},
        {"split": "val", "step": 10},
        {"split": "train", "step": 20, "pairs_per_second": 100.0, "waiting_for_data": 0.5},
        {"split": "train", "step": 50, "pairs_per_second": 300.0, "waiting_for_data": 0.0},
    ]
    # 10 steps of 8 pairs in 0.8 s, half of them waiting, then 30 steps in 0.8 s.
    assert rates(lines, 8, 10) == pytest.approx({"pairs_per_second": 200.0, "waiting_share": 0.25, "pairs": 320})


def test_the_loader_is_named_where_the_trainer_waits_for_it() -> None:
    figures = {
        "loader": {"pairs_per_second": 1000.0, "workers": 2},
        "loader's stages": {"decode image, ms": 0.9, "augment, ms": 0.2, "bytes_read": 1e5},
        "step, resnet": {"pairs_per_second": 8000.0},
        "loop, resnet": {"pairs_per_second": 1000.0, "waiting_share": 0.8, "device": "cuda"},
        "loop, other": {"pairs_per_second": 1000.0, "waiting_share": 0.8, "device": "cuda"},
    }
    sentences = named_bottlenecks(figures)
    assert sentences.keys() == {"resnet"}
    assert "the loader: the trainer waits 80% of the time, most of it to decode image" in sentences["resnet"]
    figures["loop, resnet"] |= {"pairs_per_second": 7000.0, "waiting_share": 0.01}
    assert named_bottlenecks(figures)["resnet"].startswith("the model: its step is 88% of the time")


@pytest.mark.parametrize("value", [1.1, float("nan"), float("inf")])
def test_what_differs_or_is_no_number_is_not_close(value: float) -> None:
    reference = torch.tensor([2.0, 1.0])
    assert require_close("same", reference.clone(), reference, 0.0) == 0
    with pytest.raises(AssertionError, match="other: differs by"):
        require_close("other", torch.tensor([2.0, value]), reference, 0.01)


@pytest.mark.slow
def test_a_cpu_does_all_that_needs_no_gpu(tmp_path: Path) -> None:
    status, record, table = run_on_the_cpu(tmp_path, "--minutes", "60")
    assert status == 0, table
    results = results_of(record)
    assert results.keys() == {item.name for item in ITEMS}
    skipped = {name for name, result in results.items() if result["outcome"] == "skipped"}
    assert skipped == NEEDING_CUDA
    assert all(results[name]["figures"] for name in results.keys() - skipped)
    assert record["bottlenecks"].keys() == {"soundingearth-resnet18", "soundingearth-resnet50"}
