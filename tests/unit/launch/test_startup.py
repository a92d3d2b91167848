"""A plan's mistakes are answered before anything heavy is imported, and before any data is built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "torchvision", "albumentations", "accelerate", "sklearn", "matplotlib", "mlflow", "faiss", "jinja2")
CODE = (
    "import runpy, sys\n"
    "sys.argv = sys.argv[1:]\n"
    "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "finally:\n    print('heavy:', [name for name in {heavy} if name in sys.modules])\n"
)


def answered(cwd: Path, script: str, *words: str) -> tuple[str, str]:
    """What a command prints, and which heavy packages it imported."""
    code = CODE.format(heavy=HEAVY)
    command = [sys.executable, "-c", code, str(REPOSITORY / script), *words]
    environment = {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    printed, _, heavy = done.stdout.rpartition("heavy: ")
    return printed + done.stderr, heavy.strip()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("launch/compare.py", "--help"), "usage: launch/compare.py"),
        (("launch/compare.py", "--version"), "earshot "),
        (("launch/compare.py", "plan.yaml", "--out", "out", "--nope"), "nope"),
        (("launch/compare.py", "missing.yaml", "--out", "out"), "no plan at missing.yaml"),
        (("launch/compare.py", "plan.yaml", "--out", "out"), "unknown preset 'demoo'"),
        (("downstream/run.py", "report", "--help"), "usage: python downstream/run.py report"),
        (("downstream/run.py", "report", "missing", "--out", "out"), "no results in missing"),
    ],
)
def test_an_answer_that_needs_no_work_imports_nothing_heavy(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: n\npreset: demoo\nmethods: {a: {}}\n")
    printed, heavy = answered(tmp_path, *words)
    assert says in printed
    assert heavy == "[]"


def test_an_unknown_loss_is_named_before_the_demo_is_built(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: n\nmethods: {a: {loss.name: nope}}\n")
    printed, _ = answered(tmp_path, "launch/compare.py", "plan.yaml", "--out", "out")
    assert "row 1 of 1 (a, resnet18, seed 0): unknown loss.name 'nope'" in printed
    assert not (tmp_path / "data").exists()
