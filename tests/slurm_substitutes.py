"""Substitutes for Slurm's commands, which note what they are asked; a test says what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commands import REPOSITORY, environment

SCRIPTS = REPOSITORY / "launch" / "slurm"

# `show job` prints the record; a cluster may refuse to requeue, and the record may be another one afterwards.
SCONTROL = """#!/bin/sh
case "$1 $2" in
  "show hostnames") printf '127.0.0.1\\n127.0.0.2\\n' ;;
  "show job") cat "$SUBSTITUTES/record" ;;
  "show config") cat "$SUBSTITUTES/config" ;;
  "show partition") cat "$SUBSTITUTES/partition" ;;
  *)
    echo scontrol "$@" >> "$SUBSTITUTES/log"
    cp "$SUBSTITUTES/later_record" "$SUBSTITUTES/record"
    exit "$(cat "$SUBSTITUTES/requeue_status")" ;;
esac
"""
SBATCH = """#!/bin/sh
{ echo sbatch "$@"; env | grep -E '^(SLURM_|RESUBMISSIONS=|EARSHOT=|BUILD_PART=)' | sort; } >> "$SUBSTITUTES/log"
echo '815;cluster'
"""

RECORD = """JobId=4711 JobName=earshot
   UserId=me(1000) GroupId=me(1000) MCS_label=N/A
   Priority=1 Nice=0 Account=lab QOS=low
   JobState={state} Reason=None Dependency=(null)
   Requeue={requeue} Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
   RunTime=00:01:00 TimeLimit=2-00:00:00 TimeMin=N/A
   PreemptEligibleTime=2026-11-01T10:00:00 PreemptTime={preempted}
   Partition=gpu AllocNode:Sid=login:1
   ReqNodeList=(null) ExcNodeList=(null)
   NumNodes=2 NumCPUs=64 NumTasks=2 CPUs/Task=32 ReqB:S:C:T=0:0:*:*
   Features=(null) DelayBoot=00:00:00
   Command={command}
   WorkDir=/somewhere
   StdErr={errors}
   StdOut=/somewhere/slurm-4711.out
"""
CONFIG = """Configuration data as of 2026-11-01T12:00:00
KillWait                = 30 sec
PreemptMode             = {mode}
PreemptParameters       = (null)
PreemptType             = preempt/{kind}
"""


@dataclass
class Slurm:
    """A folder with the substitutes, their answers and their log."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        self.add_command("scontrol", SCONTROL)
        self.add_command("sbatch", SBATCH)
        self.answer()
        self.preempts("CANCEL")

    def add_command(self, name: str, text: str) -> None:
        """Adds a command to the PATH of the scripts."""
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def answer(
        self,
        *,
        state: str = "RUNNING",
        later_state: str = "",
        preempted: str = "None",
        command: str = "(null)",
        requeue: int = 1,
        errors: str = "/somewhere/slurm-4711.out",
        refuses: bool = False,
    ) -> None:
        """Sets what Slurm knows of the job, also after a request to requeue it, and whether it refuses that."""
        for name, known in (("record", state), ("later_record", later_state or state)):
            text = RECORD.format(state=known, preempted=preempted, command=command, requeue=requeue, errors=errors)
            (self.folder / name).write_text(text)
        (self.folder / "requeue_status").write_text("1" if refuses else "0")

    def preempts(self, mode: str, *, kind: str = "qos", of_partition: str = "OFF") -> None:
        """Sets the cluster's PreemptMode, the plugin that decides on preemptions, and the partition's own mode."""
        (self.folder / "config").write_text(CONFIG.format(mode=mode, kind=kind))
        (self.folder / "partition").write_text(f"PartitionName=gpu\n   State=UP PreemptMode={of_partition}\n")

    def environment(self, *more_path: str | Path, **more: str) -> dict[str, str]:
        """The environment of a batch script under Slurm; `more_path` comes after the substitutes."""
        settings = environment(SUBSTITUTES=str(self.folder), SLURM_JOB_ID="4711", **more)
        for name in ("VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "EARSHOT", "ACTIVATE", "CONFIG"):
            settings.pop(name, None)
        path = [str(self.folder / "bin"), *map(str, more_path), settings["PATH"]]
        return settings | {"PATH": ":".join(path)} | more

    @property
    def requests(self) -> list[str]:
        """What was asked of scontrol and sbatch, with the variables that reach sbatch."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []
