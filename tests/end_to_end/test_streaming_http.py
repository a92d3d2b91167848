"""Pre-training on shards behind a web server that misbehaves, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import SMALL, python, run, run_together
from shard_server import Fault, ShardServer, serve

from pretrain.training.metrics_file import MetricsFile

FEW = [*SMALL, "--epochs", "2", "--log-every-steps", "1", "--data.block-samples", "14"]
BAD = "train-000002.tar"


@pytest.fixture
def server(tiny_shards: Path) -> Iterator[ShardServer]:
    with serve(tiny_shards) as running:
        yield running


def losses(run_folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(run_folder).read() if line["split"] == "train"]


@pytest.mark.slow
def test_a_run_over_a_bad_network_is_the_run_on_the_folder(
    server: ShardServer, tiny_shards: Path, tmp_path: Path
) -> None:
    server.faults = {
        "manifest.json": [Fault(status=503)],
        "train-000001.tar": [Fault(cut_after=90_000)],
        "val-000000.tar": [Fault(cut_after=1)],
    }
    far = run(
        python("pretrain/run.py", "demo", "--shards", server.url, "--out", "far", *FEW, "--data.cache-dir", "cache"),
        cwd=tmp_path,
    )
    assert far.returncode == 0, far.stderr
    here = run(python("pretrain/run.py", "demo", "--shards", tiny_shards, "--out", "here", *FEW), cwd=tmp_path)
    assert here.returncode == 0, here.stderr
    assert losses(tmp_path / "far") == losses(tmp_path / "here")
    assert server.asked_for("train-000001.tar") == [0, 90_000]

    # The same set, a folder now, through the same cache, which holds it already; and a resumed run may change that.
    words = ("--resume", "far", "--epochs", "3", "--data.cache-gb", "1")
    assert run(python("pretrain/run.py", *words), cwd=tmp_path).returncode == 0
    assert len(server.asked_for("train-000001.tar")) == 2


@pytest.mark.slow
def test_a_shard_that_stays_away_stops_two_processes_or_is_skipped_by_both(server: ShardServer, tmp_path: Path) -> None:
    server.always[BAD] = Fault(status=404)
    words = ["demo", "--shards", server.url, *FEW, "--data.cache-dir", "cache"]
    stopped = run(python("pretrain/run.py", *words, "--out", "stopped"), cwd=tmp_path)
    assert stopped.returncode != 0
    assert (
        f"error: shard {BAD} can't be read: {server.url}/{BAD} could not be fetched (HTTP 404 Not Found)"
        in stopped.stderr
    )
    assert "Traceback" not in stopped.stderr.split("error: ")[0]

    skipping = [*words, "--data.skip-bad-shards"]
    one = run(python("pretrain/run.py", *skipping, "--out", "one"), cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    assert one.stderr.count(f"skipped: shard {BAD}") == 1
    two = run_together(python("pretrain/run.py", *skipping, "--out", "two"), cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert two.returncode == 0, two.stderr
    assert two.stderr.count(f"skipped: shard {BAD}") == 1
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two")]
    assert [summary["replaced_pairs"] for summary in summaries] == [14, 14]
    assert [summary["step"] for summary in summaries] == [6, 6]


def test_a_pipe_is_refused_in_a_sentence(tmp_path: Path) -> None:
    words = ["demo", "--shards", "pipe:touch ran; cat {name}", "--out", "r", *FEW]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode != 0
    assert "would run a shell command, which is not allowed by default" in result.stderr
    assert not (tmp_path / "ran").exists()
