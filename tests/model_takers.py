"""What takes a trained model: retrieval and downstream, as users run them."""

from __future__ import annotations

import json
from pathlib import Path

from commands import python, run
from scene_folders import write_scenes


def assert_retrieval_and_downstream_take(finished: Path, tiny_shards: Path, tmp_path: Path) -> None:
    """Ranks the test split of the tiny shards by a run's model, and probes its trunk on scenes."""
    words = ["--weights", finished, "--shards", tiny_shards, "--out", tmp_path / "evaluated", "--crops", "1"]
    evaluated = run(python("retrieval/run.py", "evaluate", *words), cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads((tmp_path / "evaluated" / "metrics.json").read_text())["gallery_size"] == 24
    root = write_scenes(tmp_path / "scenes")
    words = ["folder", "--root", root, "--weights", finished, "--out", tmp_path / "scenes_out", "--protocol", "linear"]
    words += ["--num-seeds", "1", "--image-size", "32", "--batch-size", "8", "--workers", "0", "--threads", "1"]
    classified = run(python("downstream/run.py", *words, "--tracker", "none"), cwd=tmp_path)
    assert classified.returncode == 0, classified.stderr
    encoder = json.loads((finished / "model" / "config.json").read_text())["image_encoder"]
    assert json.loads((tmp_path / "scenes_out" / "results.json").read_text())["backbone"] == encoder
