"""Which part of a build a process has, from its options and from what a launcher or a scheduler tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS

from shards.atomic_files import write_text_once
from shards.building.parts import Part, array_part, as_launched, parse_part
from shards.building.planning import BuildOptions, ShardPlan, usable_cpus
from shards.errors import UserError


def part_of(environment: dict[str, str], part: str | None = None) -> str | None:
    return as_launched(BuildOptions("demo", Path("out"), part=part), environment).part


def array(task: int, first: int, last: int, count: int) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize("count", [1, 2, 3, 9, 20])
def test_every_shard_falls_to_one_part(count: int) -> None:
    shards = [ShardPlan(f"train-{number:06d}.tar", "train", ()) for number in range(9)]
    dealt = [Part(number, count).of(shards) for number in range(1, count + 1)]
    assert sorted((shard for part in dealt for shard in part), key=lambda shard: shard.name) == shards
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_a_launcher_numbers_its_processes_from_zero_and_they_share_the_cores() -> None:
    assert part_of({}) is None
    assert part_of({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "here"}) is None
    launched = {"RANK": "2", "WORLD_SIZE": "3", "MASTER_ADDR": "here", "LOCAL_WORLD_SIZE": "1"}
    assert part_of(launched) == "3/3"
    assert as_launched(BuildOptions("demo", Path("out")), launched).workers == usable_cpus()
    crowded = {**launched, "LOCAL_WORLD_SIZE": str(usable_cpus() + 1)}
    assert as_launched(BuildOptions("demo", Path("out")), crowded).workers == 1
    assert as_launched(BuildOptions("demo", Path("out"), workers=5), crowded).workers == 5
    # Whoever is launched may yet pack all or nothing.
    assert part_of(launched, "all") == "all"
    assert part_of({"MASTER_ADDR": "here"}, "finish") == "finish"


def test_a_launcher_that_numbers_nobody_is_refused() -> None:
    for environment in ({"MASTER_ADDR": "here"}, {"WORLD_SIZE": "4"}):
        with pytest.raises(UserError, match="starts a single process; launch with torchrun"):
            part_of(environment)
    with pytest.raises(UserError, match="RANK=4 and WORLD_SIZE=4 are not a valid rank and world size"):
        part_of({"RANK": "4", "WORLD_SIZE": "4"})
    with pytest.raises(UserError, match="1/2 was given to all 4 launched processes"):
        part_of({"RANK": "1", "WORLD_SIZE": "4"}, "1/2")


def test_a_task_of_an_array_gets_its_part_wherever_the_numbers_begin() -> None:
    assert [array_part(array(task, 0, 2, 3)) for task in range(3)] == [Part(1, 3), Part(2, 3), Part(3, 3)]
    assert array_part(array(7, 5, 8, 4)) == Part(3, 4)
    assert array_part(array(20, 0, 30, 4)) == Part(3, 4)
    assert array_part(array(6, 6, 6, 1)) == Part(1, 1)
    assert part_of(array(2, 1, 2, 2), "array") == "2/2"
    # Not asked for, an array may be of whole builds, each of another corpus.
    assert part_of(array(2, 1, 2, 2)) is None
    for numbers in (array(3, 1, 7, 3), array(0, 0, 9, 3), array(9, 1, 8, 8)):
        with pytest.raises(UserError, match="evenly spaced"):
            array_part(numbers)
    with pytest.raises(UserError, match="SLURM_ARRAY_TASK_ID is not set; submit with sbatch --array"):
        part_of({}, "array")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "2", "a/b", "-1/3", "1/3 ", "All", ""])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--part must be K/N with K from 1 to N, array, all or finish, got"):
        parse_part(text)


WRITE_ONCE = """
import sys, time
from pathlib import Path
from shards.atomic_files import write_text_once

folder, number = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{number}").touch()
while len(list(folder.glob("ready-*"))) < 4:
    time.sleep(0.001)
print(write_text_once(folder / "plan.json", number * 1000), end="")
"""


def test_of_many_that_write_a_text_once_one_succeeds_and_all_get_its_text(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE_ONCE, tmp_path, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    printed = {process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes}
    assert printed == {(tmp_path / "plan.json").read_text()}
    assert write_text_once(tmp_path / "plan.json", "later") == printed.pop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", *(f"ready-{n}" for n in range(4))]


def test_it_is_written_once_without_hard_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert [write_text_once(tmp_path / "plan.json", text) for text in ("first", "second")] == ["first", "first"]
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
