"""The part of a build that a process packs: from --part, from its launcher, or from a Slurm array."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shards.building.planning import BuildOptions, ShardPlan, usable_cpus
from shards.errors import UserError

ALL, FINISH, ARRAY = "all", "finish", "array"
_REMEDY = (
    "launch with torchrun --nproc_per_node N, give each process its --part K/N, or give --part all, so that a single "
    "process packs everything with --workers processes"
)


@dataclass(frozen=True)
class Part:
    """The share of the shards that one of several processes packs.

    Attributes:
        number: number of this part, 1 to `count`.
        count: number of parts.
    """

    number: int
    count: int

    def of(self, shards: Sequence[ShardPlan]) -> list[ShardPlan]:
        """The shards of this part: every `count`-th, so that the parts are equal in size and in the mix of splits."""
        return list(shards[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"part {self.number} of {self.count}"


def parse_part(text: str | None) -> Part | None:
    """Parses "K/N"; returns None for "all", "finish" and None.

    Raises:
        UserError: any other text, or K is not within 1 to N.
    """
    if text is None or text in (ALL, FINISH):
        return None
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    part = Part(int(match[1]), int(match[2])) if match else Part(0, 0)
    if not 1 <= part.number <= part.count:
        raise UserError(f"--part must be K/N with K from 1 to N, {ARRAY}, {ALL} or {FINISH}, got {text}")
    return part


def as_launched(options: BuildOptions, environment: Mapping[str, str]) -> BuildOptions:
    """Fills in the part and the number of workers for this process from its launcher.

    Launchers (torchrun, accelerate launch) number their processes by RANK and WORLD_SIZE; processes on one machine
    share its cores. In a Slurm array, `--part array` takes the number of the task.

    Args:
        options: the options from the command line.
        environment: environment variables of this process.

    Raises:
        UserError: a launcher started one process instead of several, or the part is invalid.
    """
    part = array_part(environment) if options.part == ARRAY else parse_part(options.part)
    launched = _launched_part(environment) if options.part in (None, ARRAY) or part else None
    if part is not None and launched is not None:
        raise UserError(
            f"--part {options.part} was given to all {launched.count} launched processes; omit it, so that each gets "
            "its own part, or start the command without the launcher"
        )
    part = part or launched
    workers = options.workers
    if workers is None and launched is not None:
        workers = max(1, usable_cpus() // int(environment.get("LOCAL_WORLD_SIZE", "1")))
    text = options.part if part is None else f"{part.number}/{part.count}"
    return dataclasses.replace(options, part=text, workers=workers)


def _launched_part(environment: Mapping[str, str]) -> Part | None:
    """The part given by a launcher's variables, None for a process that was started alone."""
    rank, world_size = environment.get("RANK"), environment.get("WORLD_SIZE")
    if world_size == "1" or (world_size is None and "MASTER_ADDR" not in environment):
        return None
    if rank is None or world_size is None:
        given = ", ".join(name for name in ("MASTER_ADDR", "WORLD_SIZE") if name in environment)
        raise UserError(
            f"{given} is set, but this process has no rank, as with accelerate launch on CPUs, which starts a single "
            f"process; {_REMEDY}"
        )
    if not (rank.isdecimal() and world_size.isdecimal() and int(rank) < int(world_size)):
        raise UserError(f"RANK={rank} and WORLD_SIZE={world_size} are not a valid rank and world size; {_REMEDY}")
    return Part(int(rank) + 1, int(world_size))


def array_part(environment: Mapping[str, str]) -> Part:
    """The part of a task of a Slurm array with any first number and any step.

    Raises:
        UserError: this is not a task of an array, or its numbers are not evenly spaced.
    """
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    missing = [name for name in names if not environment.get(name, "").isdecimal()]
    if missing:
        raise UserError(
            f"--part {ARRAY} needs a task of a Slurm array, but {missing[0]} is not set; submit with sbatch --array=1-N"
        )
    task, first, last, count = (int(environment[name]) for name in names)
    step = (last - first) // max(1, count - 1) or 1
    if first + step * (count - 1) != last or (task - first) % step or not first <= task <= last:
        raise UserError(
            f"--part {ARRAY} needs an array with evenly spaced task numbers, but this one has {count} from {first} to "
            f"{last}, including {task}; resubmit the whole array (finished parts end at once), or give --part K/N"
        )
    return Part((task - first) // step + 1, count)
