"""Every command answers help, versions and mistakes before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from startup_cases import CASES, prepare

HEAVY = (
    *("torch", "torchvision", "torchaudio", "accelerate", "deepspeed", "transformers", "timm", "albumentations", "cv2"),
    *("sklearn", "scipy", "pandas", "matplotlib", "mlflow", "faiss", "jinja2", "gradio", "soundfile", "rasterio"),
)
CODE = (
    "import runpy, sys\n"
    "sys.argv = sys.argv[1:]\n"
    "try:\n"
    "    if sys.argv[0].endswith('earshot'):\n        import earshot; earshot.main()\n"
    "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    f"finally:\n    print('heavy:', [name for name in {HEAVY} if name in sys.modules])\n"
)


def answered(repository: Path, cwd: Path, words: tuple[str, ...]) -> tuple[str, str]:
    """What a command prints, and which heavy packages it imported."""
    command = [sys.executable, "-c", CODE, str(repository / words[0]), *words[1:]]
    environment = {"PYTHONPATH": str(repository), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    printed, _, heavy = done.stdout.rpartition("heavy: ")
    return printed + done.stderr, heavy.strip()


@pytest.mark.parametrize(("words", "says"), CASES, ids=lambda part: " ".join(part) if isinstance(part, tuple) else "")
def test_an_answer_that_needs_no_work_imports_nothing_heavy(
    words: tuple[str, ...], says: str, repository: Path, tmp_path: Path
) -> None:
    prepare(tmp_path)
    printed, heavy = answered(repository, tmp_path, words)
    assert says in printed
    assert heavy == "[]"
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]


def test_an_unknown_loss_of_a_plan_is_named_before_the_demo_is_built(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: n\nmethods: {a: {loss.name: nope}}\n")
    printed, _ = answered(repository, tmp_path, ("launch/compare.py", "plan.yaml", "--out", "out"))
    assert "row 1 of 1 (a, resnet18, seed 0): unknown loss.name 'nope'" in printed
    assert not (tmp_path / "data").exists()
