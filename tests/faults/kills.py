"""Kills commands at any moment, several times in a row, lets them go on, and compares what they leave in the end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from commands import REPOSITORY, environment, python, start_together, warm_python_for
from faults.works import Files, Work, remains
from processes import processes_with
from warm_python import WarmProcess, wait_for_all

PATIENCE_SECONDS = 300.0
"""For a command that takes seconds."""
LEFT_SECONDS = 60.0
"""How long processes of a command that has ended may take to end too."""
MOST_KILLS = 3


@dataclass
class Killed:
    """What became of a command's campaigns.

    Attributes:
        campaigns: how often it was begun in an empty folder and carried to its end.
        kills: how many processes were killed over all of them.
        failures: the number of each campaign that did not end as it must, and why.
        seconds: how long the command takes that nobody kills.
    """

    campaigns: int = 0
    kills: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


class Kills:
    """A command that is killed again and again, and compared with one that never was."""

    def __init__(self, work: Work, folder: Path, more: dict[str, str]) -> None:
        """Carries the command out once.

        Args:
            work: the command.
            folder: holds what the command reads, in "in".
            more: what runs beside the command adds to its environment.
        """
        self.work, self._folder, self._out = work, folder / "in", folder / "out"
        self._mark = f"{os.getpid()}-{folder.name}"
        own = {"XDG_CACHE_HOME": str(self._out / "cache"), "MPLCONFIGDIR": str(folder)}
        self._environment = environment(**own, **work.environment, **more)
        self._warm = warm_python_for(self._environment)
        self._wait(
            [self._warm.start(python("shards/run.py", "--version"), cwd=REPOSITORY, environment=self._environment)]
        )
        self._environment["FAULTS_MARK"] = self._mark
        self.found = Killed()
        self._begin_anew()
        started = time.monotonic()
        whole = self._wait(self._start(work.words(self._folder, self._out)))
        self.found.seconds = time.monotonic() - started
        assert whole is None, f"{work.name} fails where nobody kills it: {whole}"
        assert not remains(self._out), remains(self._out)
        self._expected = work.results(self._out)
        assert self._expected, f"{work.name} writes nothing"

    def campaign(self, number: int, seed: int) -> None:
        """Begins the command, kills it one to three times, and carries it to its end; the arguments fix the moments."""
        chance = random.Random(f"{seed}/{self.work.name}/{number}")
        self._begin_anew()
        self.found.campaigns += 1
        failure, difference = self._killed(chance), self._difference()
        is_finished = failure is not None and failure.startswith("status 2:")
        if difference or (failure and not is_finished):
            self.found.failures[number] = "; ".join(filter(None, (failure, difference)))

    def _killed(self, chance: random.Random) -> str | None:
        """Kills the command and has it go on until it succeeds; why it fails, None if it does not."""
        for _ in range(chance.randint(1, MOST_KILLS)):
            processes = self._start(self.work.goes_on(self._folder, self._out))
            end = time.monotonic() + chance.uniform(0, self.found.seconds)
            while time.monotonic() < end and not any(process.has_ended() for process in processes):
                time.sleep(0.005)
            if any(process.has_ended() for process in processes):
                return self._wait(processes)
            self._kill(processes, everything=chance.random() < 0.5)
            self.found.kills += 1
        return self._wait(self._start(self.work.goes_on(self._folder, self._out)))

    def _difference(self) -> str | None:
        try:
            found: Files = self.work.results(self._out)
        except OSError as error:
            return str(error)
        if found.keys() != self._expected.keys():
            return f"other files: {sorted(found.keys() ^ self._expected.keys())}"
        if different := [name for name, content in found.items() if content != self._expected[name]]:
            return f"other contents: {different}"
        if left := remains(self._out):
            return f"left behind: {left}"
        deadline = time.monotonic() + LEFT_SECONDS
        while processes := self._processes():
            if time.monotonic() > deadline:
                return f"still running: {processes}"
            time.sleep(0.1)
        return None

    def _begin_anew(self) -> None:
        shutil.rmtree(self._out, ignore_errors=True)
        self._out.mkdir()
        shutil.rmtree(self._folder / "hub", ignore_errors=True)

    def _start(self, words: list[str]) -> list[WarmProcess]:
        count = self.work.processes
        if count == 1:
            return [self._warm.start(words, cwd=REPOSITORY, environment=self._environment)]
        return start_together(words, cwd=REPOSITORY, processes=count, settings=self._environment, warm=self._warm)

    def _kill(self, processes: list[WarmProcess], *, everything: bool) -> None:
        """Kills the processes of the command alone, or those too that they have started."""
        numbers = self._processes() if everything else [process.pid for process in processes]
        for number in {*numbers, *(process.pid for process in processes)}:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in processes:
            process.wait(PATIENCE_SECONDS)

    @staticmethod
    def _wait(processes: list[WarmProcess]) -> str | None:
        """Why the processes failed, None if they succeeded."""
        for result in wait_for_all(processes, PATIENCE_SECONDS):
            if result.returncode != 0:
                return f"status {result.returncode}: {result.stderr[-400:]}"
            if "Traceback" in result.stderr:
                return f"a traceback: {result.stderr[-400:]}"
        return None

    def _processes(self) -> list[int]:
        """What runs of this command, whoever started it."""
        return list(processes_with(f"FAULTS_MARK={self._mark}"))


def kill_campaigns(work: Work, numbers: range, seed: int, *, until_failure: bool = False) -> Killed:
    """Tries a command with these campaigns, or until one fails, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name) / "in"
        folder.mkdir()
        work.prepare(folder)
        with work.beside(folder) as more:
            kills = Kills(work, Path(name), more)
            for number in numbers:
                kills.campaign(number, seed)
                if until_failure and kills.found.failures:
                    break
            return kills.found
