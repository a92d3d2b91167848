"""Where runs are tracked: beside the run folder, and runs within a tracked run with it."""

from __future__ import annotations

from pathlib import Path

from pretrain.training.tracking import TRACKING_NAME, _outer_run, _run_name


def test_runs_within_a_tracked_run_go_to_its_store(tmp_path: Path) -> None:
    inner = tmp_path / "runs" / "tuned" / "seed-0" / "lr-0.001"
    inner.mkdir(parents=True)
    assert (_outer_run(inner), _run_name(inner)) == (inner.resolve(), "lr-0.001")
    # What holds settings alone, such as a project's folder, is no tracked run.
    (tmp_path / "config.yaml").touch()
    (tmp_path / "runs" / "tuned" / TRACKING_NAME).touch()
    assert _outer_run(inner) == (tmp_path / "runs" / "tuned").resolve()
    assert _run_name(inner) == "tuned/seed-0/lr-0.001"
    assert _run_name(tmp_path / "runs" / "tuned") == "tuned"
