"""What is submitted to Slurm keeps the plan that it was submitted with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launch.comparison.command_line import parse
from launch.comparison.slurm import submit_rows


def test_a_second_submission_leaves_the_first_one_s_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    # Slurm copies the script when it is submitted.
    sbatch.write_text(f'#!/bin/sh\nfor file; do :; done; cat "$file" >> {tmp_path}/submitted\necho 7\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    plan, out = tmp_path / "plan.yaml", tmp_path / "out"
    out.mkdir()
    for text in ("name: one\n", "name: another\n"):
        plan.write_text(text)
        submit_rows(parse([str(plan), "--out", str(out), "--slurm"]), "n", [1], lambda: None)
    lines = (tmp_path / "submitted").read_text().splitlines()
    read = [word for line in lines for word in line.split() if word.endswith(".plan.yaml")]
    assert [Path(path).read_text() for path in dict.fromkeys(read)] == ["name: one\n", "name: another\n"]
