"""The demo's weights by one command: trained, released in half precision, and loaded by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import python, run
from safetensors.torch import load_file


@pytest.mark.slow
def test_the_demos_weights_are_made_once_and_load_by_name(tiny_shards: Path, tmp_path: Path) -> None:
    where = {"EARSHOT_MODELS": str(tmp_path / "models"), "ONEDNN_MAX_CPU_ISA": "AVX2"}
    options = ["--shards", tiny_shards, "--run", "runs/demo"]
    made = run(python("pretrain/run.py", "demo-weights", *options), cwd=tmp_path, **where)
    assert made.returncode == 0, made.stderr
    out = tmp_path / "models" / "demo"
    assert "median ranks of 16 validation pairs in float32 and in half precision" in made.stdout
    assert f"model.safetensors: {(out / 'model.safetensors').stat().st_size / 1e6:.1f} MB, SHA-256 " in made.stdout
    assert made.stdout.endswith("they load by name: --weights demo\n")
    trained = load_file(tmp_path / "runs" / "demo" / "model" / "model.safetensors")
    rounded = load_file(out / "model.safetensors")
    assert trained.keys() == rounded.keys()
    assert "license: apache-2.0" in (out / "README.md").read_text()

    again = run(python("pretrain/run.py", "demo-weights", *options), cwd=tmp_path, **where)
    assert (again.returncode, again.stdout) == (
        0,
        f"the weights demo are in {out} already; remove that folder to make them again\n",
    )
    words = ["--weights", "demo", "--shards", tiny_shards, "--out", "evaluated", "--crops", "1"]
    evaluated = run(python("retrieval/run.py", "evaluate", *words), cwd=tmp_path, **where)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads((tmp_path / "evaluated" / "metrics.json").read_text())["gallery_size"] == 24
