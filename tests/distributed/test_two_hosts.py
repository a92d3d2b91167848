"""Runs over two hosts, each a network namespace: they train as one process does, and go on after one is lost."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from commands import BIN, REPOSITORY, SMALL_INPUTS, accelerate_launch, run
from namespaces import ADDRESSES, PORT, Host, two_hosts

from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints

pytestmark = pytest.mark.slow

STEPS = 9
OPTIONS = [
    *(*SMALL_INPUTS, "--epochs", "3", "--seed", "3", "--model.norm", "group", "--log-every-steps", "1"),
    *("--optimizer.learning-rate", "1e-4", "--checkpoint.every-steps", "2"),
]
SCRIPT = str(REPOSITORY / "pretrain" / "run.py")
SECONDS_TO_END = 300
"""Enough for a start, for training, and for giving up a host that vanished under `GIVE_UP_SOON`."""
GIVE_UP_SOON = ("--timeout-minutes", "0.5")


def launcher(kind: str, rank: int) -> list[str]:
    """What starts one process on the host of this rank, up to the script: "torchrun" or a file of launch/accelerate."""
    if kind == "torchrun":
        place = ["--node_rank", str(rank), "--master_addr", ADDRESSES[0], "--master_port", str(PORT)]
        return [str(BIN / "torchrun"), "--nnodes", "2", *place, "--nproc_per_node", "1", SCRIPT]
    place = ["--machine_rank", str(rank), "--main_process_ip", ADDRESSES[0], "--main_process_port", str(PORT)]
    config = ["--config_file", str(REPOSITORY / "launch" / "accelerate" / f"{kind}.yaml")]
    return [
        *(str(BIN / "accelerate"), "launch", "--quiet", *config),
        *("--num_machines", "2", "--num_processes", "2", *place, SCRIPT),
    ]


class Job:
    """The same command on both hosts; on the CPU as torch's launcher or DeepSpeed's standard one brings it there."""

    def __init__(self, kind: str, hosts: tuple[Host, Host], logs: Path, *words: str | Path) -> None:
        more = {} if kind.startswith("deepspeed") else {"ACCELERATE_USE_CPU": "true"}
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = [logs / f"host-{rank}.log" for rank in range(2)]
        self.parts = [
            # DeepSpeed's files are found from the checkout.
            host.start([*launcher(kind, rank), *map(str, words)], cwd=REPOSITORY, log=self.logs[rank], **more)
            for rank, host in enumerate(hosts)
        ]

    def printed(self, rank: int) -> str:
        return self.logs[rank].read_text()

    def end(self) -> None:
        """Waits until both hosts are done and demands that all went well."""
        for rank, part in enumerate(self.parts):
            assert part.wait(SECONDS_TO_END) == 0, self.printed(rank)[-6000:]


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as pair:
        yield pair


@pytest.fixture(scope="module")
def alone(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    result = run(accelerate_launch("demo", "--shards", tiny_shards, "--out", folder, *OPTIONS), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From how two hosts are launched to the run in which they were never stopped."""

    @cache
    def trained(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind) / "run"
        with two_hosts() as pair:
            Job(kind, pair, folder.parent, "demo", "--shards", tiny_shards, "--out", folder, *OPTIONS).end()
        return folder

    return trained


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(folder).read() if line["split"] == "train"]


def ranks(folder: Path) -> list[float]:
    return [line["mean_rank"] for line in MetricsFile(folder).read() if line["split"] == "val"]


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name[5:])


@pytest.mark.parametrize("kind", ["torchrun", "deepspeed_zero2"])
def test_two_hosts_train_as_one_process(kind: str, uninterrupted: Callable[[str], Path], alone: Path) -> None:
    folder = uninterrupted(kind)
    found = summary(folder)
    assert found["num_processes"] == 2
    if kind == "torchrun":
        assert found["distributed_type"] == "MULTI_CPU"
    else:
        assert (found["distributed_type"], found["zero_stage"]) == ("DEEPSPEED", 2)
    assert len(losses(folder)) == STEPS
    # Differences of rounding grow tenfold in a few steps of Adam; gradients that are wrong show from the second step.
    assert losses(folder)[:6] == pytest.approx(losses(alone)[:6], rel=2e-4)
    assert losses(folder) == pytest.approx(losses(alone), rel=5e-3)
    assert ranks(folder) == pytest.approx(ranks(alone), abs=0.5)


# A host whose processes are killed closes its connections; one that loses its power or its cable says nothing.
@pytest.mark.parametrize(
    ("kind", "lost", "silently"),
    [("torchrun", 1, False), ("torchrun", 0, True), ("deepspeed_zero2", 0, False)],
    ids=["torchrun-killed", "torchrun-vanished", "deepspeed-killed"],
)
def test_when_a_host_is_lost_the_other_ends_and_the_job_goes_on(
    kind: str,
    lost: int,
    silently: bool,
    uninterrupted: Callable[[str], Path],
    hosts: tuple[Host, Host],
    tiny_shards: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    give_up = GIVE_UP_SOON if silently else ()
    job = Job(kind, hosts, tmp_path, "demo", "--shards", tiny_shards, "--out", folder, *OPTIONS, *give_up)
    deadline = time.monotonic() + SECONDS_TO_END
    while not list_checkpoints(folder):
        assert time.monotonic() < deadline
        assert [part.poll() for part in job.parts] == [None, None], job.printed(0) + job.printed(1)
        time.sleep(0.01)
    if silently:
        hosts[lost].unplug()
    hosts[lost].kill()

    assert job.parts[1 - lost].wait(SECONDS_TO_END) not in (0, None)
    assert hosts[1 - lost].processes() == []
    assert step_of(list_checkpoints(folder)[-1]) < STEPS
    assert not (folder / "summary.json").exists()

    hosts[lost].plug_in()
    again = Job(kind, hosts, tmp_path / "again", "--resume", folder)
    again.end()
    assert "resuming" in again.printed(0)
    assert summary(folder)["num_processes"] == 2
    whole = uninterrupted(kind)
    assert losses(folder) == losses(whole)
    last = f"checkpoints/step-{STEPS:08d}/weights.safetensors"
    assert (folder / last).read_bytes() == (whole / last).read_bytes()


def test_gpus_of_several_machines_are_launched_by_their_file(
    hosts: tuple[Host, Host], tiny_shards: Path, tmp_path: Path
) -> None:
    # Without GPUs its processes join by gloo: what the file says of machines and of their meeting is the same.
    folder = tmp_path / "run"
    words: list[str | Path] = ["demo", "--shards", tiny_shards, "--out", folder, *SMALL_INPUTS, "--epochs", "1"]
    job = Job("several_machines", hosts, tmp_path, *words)
    job.end()
    assert "2 processes x 8 pairs" in job.printed(0)
    assert (summary(folder)["num_processes"], summary(folder)["distributed_type"]) == (2, "MULTI_CPU")


def test_hosts_that_would_train_alone_are_refused(hosts: tuple[Host, Host], tiny_shards: Path, tmp_path: Path) -> None:
    # Without CUDA and without DeepSpeed, accelerate launch starts one process on each host, and they never meet.
    parts: list[subprocess.Popen[bytes]] = []
    for rank, host in enumerate(hosts):
        command = launcher("one_process", rank)
        place = command.index("--config_file")
        command[place : place + 2] = ["--cpu", "--mixed_precision", "no"]
        words = [
            "demo",
            "--shards",
            str(tiny_shards),
            "--out",
            str(tmp_path / f"run-{rank}"),
            *SMALL_INPUTS,
            "--epochs",
            "1",
        ]
        parts.append(host.start([*command, *words], cwd=tmp_path, log=tmp_path / f"host-{rank}.log"))
    for rank, part in enumerate(parts):
        assert part.wait(SECONDS_TO_END) != 0
        assert "which would train alone" in (tmp_path / f"host-{rank}.log").read_text()
        assert not (tmp_path / f"run-{rank}").exists()
