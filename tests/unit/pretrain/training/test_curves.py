"""The curves of a run: what is drawn of metrics.jsonl, the picture in the run folder, and `show` in the terminal."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import environment, python, run
from PIL import Image
from released_runs import small_towers, write_run

from pretrain.training.curves import panels_of, steps_per_epoch
from pretrain.training.curves_picture import CURVES_NAME, curves_png, write_curves
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.showing import ShowRunOptions, lines_of, run_show, sparkline
from shards.errors import UserError


def train(step: int, epoch: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"step": step, "epoch": epoch, "split": "train", "loss": loss, "learning_rate": 0.1, **more}


def val(step: int, epoch: int, rank: float, **more: Any) -> dict[str, Any]:
    ranks = {part: {"median_rank": rank + shift} for part, shift in (("image_to_sound", 0), ("sound_to_image", 1))}
    chance = {"chance": {"median_rank": 25.5}, "gallery_size": 50}
    return {"step": step, "epoch": epoch, "split": "val", **ranks, **chance, **more}


LINES = [
    train(1, 0, 2.0, image_relative_spread=0.8),
    train(5, 0, float("nan"), image_relative_spread=0.4),
    val(5, 0, 20.0),
    train(10, 1, 1.0, image_relative_spread=0.6),
    val(10, 1, 4.0),
]


def test_the_panels_hold_the_values_of_the_file() -> None:
    loss, ranks, spread = panels_of(LINES)
    assert [(curve.name, curve.steps, curve.values) for curve in loss.curves] == [("loss", [1, 10], [2.0, 1.0])]
    assert [(curve.name, curve.values) for curve in ranks.curves] == [
        ("image → sound", [20.0, 4.0]),
        ("sound → image", [21.0, 5.0]),
    ]
    assert (ranks.title, ranks.chance, ranks.is_rank) == ("median rank of 50, val split", 25.5, True)
    assert [(curve.name, curve.values) for curve in spread.curves] == [("image", [0.8, 0.4, 0.6])]
    assert steps_per_epoch(LINES) == 5
    assert steps_per_epoch(LINES[:3]) is None
    assert panels_of([]) == []


def test_a_run_that_ranks_nothing_shows_its_scores() -> None:
    scores = {"split": "test", "accuracy": 0.5, "macro_f1": 0.25, "log_loss": 3.0, "classes": [1]}
    (panel,) = panels_of([{"step": 5, "epoch": 0, **scores}])
    assert panel.title == "scores, test split"
    assert [(curve.name, curve.values) for curve in panel.curves] == [("accuracy", [0.5]), ("macro f1", [0.25])]


def test_the_picture_has_a_panel_each_and_the_same_bytes_each_time() -> None:
    png = curves_png(LINES, 10)
    assert png is not None
    assert png == curves_png(LINES, 10)
    assert png != curves_png(LINES, 5)
    whole, loss_alone = (Image.open(io.BytesIO(curves_png(lines) or b"")) for lines in (LINES, LINES[:1]))
    assert whole.size[1] > loss_alone.size[1]
    assert curves_png([]) is None


def test_a_picture_that_cannot_be_drawn_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = MetricsFile(tmp_path)
    assert write_curves(tmp_path) is None
    metrics.append(**LINES[0])
    (tmp_path / CURVES_NAME).mkdir()
    assert write_curves(tmp_path) is None
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: the curves can't be drawn to {tmp_path / CURVES_NAME} (")
    assert warning.endswith("); the run is not affected\n")


def test_a_run_is_shown_within_sixty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    uses = [{"hardware": {"a processor of a long name\x1b[31m with GPU": 2}, "processes": 2, "seconds": 9.0}]
    folder = write_run(Path("one"), "shards", small_towers(), uses=uses)
    metrics = MetricsFile(folder)
    for step in range(7, 40):
        metrics.append(**train(step, step // 3, 5 / step, image_relative_spread=0.5, sound_relative_spread=0.25))
        metrics.append(**val(step, step // 3, 40 - step))
    run_show(ShowRunOptions(folder))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 60
    assert "\x1b" not in text
    for words in ("finished", "2.0 hours", "best step    3, chosen by the score 8", "chance 25.5", "batch_size", "16"):
        assert words in text
    rows = [line.split() for line in text.splitlines() if line.endswith("best") or line.lstrip()[:1].isdigit()]
    assert ["1", "3", "7.0", "7.0", "best"] in rows
    assert ["14", "39", "1.0", "2.0"] in rows
    assert len([row for row in rows if len(row) in (4, 5)]) == 13  # 12 evenly, and the best


def test_the_state_of_a_run_follows_from_its_files(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", "shards", small_towers(), stopped_early=True)
    assert lines_of(folder)[1].endswith("finished, stopped early")
    (folder / "summary.json").unlink()
    assert lines_of(folder)[1].endswith("ended before its first checkpoint; start it again")
    (folder / "checkpoints" / "step-00000003").mkdir(parents=True)
    assert lines_of(folder)[1].endswith("preempted or killed; --resume from step 3")
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        assert lines_of(folder)[1].endswith("running, step 6")
    finally:
        os.close(held)
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"^no run at .*one: it has no config.yaml; give the --out folder of a run$"):
        run_show(ShowRunOptions(folder))


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([7.0, 7.0, 0.0, 0.0], 2) == "█▁"
    assert sparkline([3.0] * 3, 8) == "▁▁▁"
    assert sparkline([0.0, 0.0], 8) == "▁▁"
    assert sparkline([-1.7e308, 1.7e308, 1.7e308], 2) == "▁█"


def test_show_is_a_verb_that_imports_no_torch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", "shards", small_towers())
    shown = run(python("pretrain/run.py", "show", folder), cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "median rank of 16, val split" in shown.stdout
    code = (
        "import sys; from pathlib import Path; from pretrain.training.showing import *\n"
        "run_show(ShowRunOptions(Path(sys.argv[1])))\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
