"""A build by the processes that a launcher starts: each takes its part, and the set has the bytes of one process's."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
from commands import BIN, PATIENCE_SECONDS, environment
from shard_commands import LAUNCHED, ROOT, build_arguments, error_of, files_of, run

SEVERAL_GPUS = ROOT / "launch" / "accelerate" / "gpus_of_one_machine.yaml"


def launch(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a launcher as on a machine without a GPU, started by nobody else."""
    settings = {name: value for name, value in environment().items() if name not in LAUNCHED}
    return subprocess.run(
        list(map(str, words)),
        cwd=ROOT,
        env=settings,
        text=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "launcher",
    [
        ("torchrun", "--standalone", "--nproc_per_node", "3"),
        pytest.param(
            ("accelerate", "launch", "--quiet", "--config_file", SEVERAL_GPUS, "--num_processes", "2"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["torchrun", "accelerate"],
)
def test_launched_processes_build_the_same_bytes(
    small_corpus: Path, small_shards: Path, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    out = tmp_path / "set"
    result = launch(BIN / launcher[0], *launcher[1:], "shards/run.py", "build", *build_arguments(small_corpus, out))
    assert result.returncode == 0, result.stdout + result.stderr
    count = launcher[-1]
    # Each had its part, and the last of them, or more than one at once, finished the set.
    assert {f"part {number} of {count}: building shards" for number in range(1, int(count) + 1)} == set(
        re.findall(r"part \d of \d: building shards", result.stderr)
    )
    assert "44 pairs listed, 40 used" in result.stdout
    assert files_of(out) == files_of(small_shards)


@pytest.mark.slow
def test_two_hosts_of_a_launcher_build_the_same_bytes(small_corpus: Path, small_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    # Two launchers that meet at an address stand for two hosts; the port is a free one of the moment.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {name: value for name, value in environment().items() if name not in LAUNCHED}
    hosts = [
        subprocess.Popen(
            [
                *(str(BIN / "torchrun"), "--nnodes", "2", "--node_rank", str(rank), "--nproc_per_node", "2"),
                *("--master_addr", "127.0.0.1", "--master_port", str(port), "shards/run.py", "build"),
                *build_arguments(small_corpus, out),
            ],
            cwd=ROOT,
            env=settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert [host.wait(timeout=PATIENCE_SECONDS) for host in hosts] == [0, 0]
    assert files_of(out) == files_of(small_shards)


def test_a_launcher_that_starts_one_process_of_several_is_refused(small_corpus: Path, tmp_path: Path) -> None:
    sentence = error_of(run("build", *build_arguments(small_corpus, tmp_path / "set"), MASTER_ADDR="127.0.0.1"))
    assert "is set, but this process has no rank" in sentence
    assert not (tmp_path / "set").exists()
    # As rank 0 of a training run starts it, for all.
    whole = run("build", *build_arguments(small_corpus, tmp_path / "set", "--part", "all"), RANK="0", WORLD_SIZE="4")
    assert whole.returncode == 0, whole.stderr
    assert (tmp_path / "set" / "manifest.json").exists()
