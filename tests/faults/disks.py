"""Takes the disk away from commands, which are full at several sizes and read-only, and gives it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from commands import REPOSITORY, environment, run_together, warm_python_for
from faults.works import Files, Work, remains
from shard_commands import files_of

PATIENCE_SECONDS = 300.0
SHARES = (0.0, 0.1, 0.3, 0.6, 0.9)
"""Of what a command writes, how much a disk has room for."""
LARGE_BYTES = 4 << 30
MOST_LETTERS = 400


class Disk:
    """A file system in memory, whose size can be changed and which can be made read-only; root alone can make one.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _mount("-t", "tmpfs", "-o", f"size={LARGE_BYTES}", "tmpfs", str(path))

    def leave_room(self, num_bytes: int) -> None:
        """Lets the files grow by so much and no more."""
        status = os.statvfs(self.path)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        # A page at least; 0 would stand for no limit.
        self._remount(f"rw,size={max(used + num_bytes, status.f_frsize)}")

    def read_only(self) -> None:
        """Refuses every change."""
        self._remount("ro")

    def give_back(self) -> None:
        """Takes any change again."""
        self._remount(f"rw,size={LARGE_BYTES}")

    def empty(self) -> None:
        """Removes all files."""
        self.give_back()
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _remount(self, options: str) -> None:
        _mount("-o", f"remount,{options}", str(self.path))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, text=True)


@contextmanager
def disk_at(path: Path) -> Iterator[Disk]:
    """A disk of its own at a folder, until the end of the block."""
    path.mkdir()
    disk = Disk(path)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)


@dataclass
class Refused:
    """What became of a command whose disk was taken away.

    Attributes:
        refused: how often it ended in a sentence.
        enough: how often the room was enough.
        failures: what went wrong, and when.
        sentences: what was said, by what was done to the disk.
    """

    refused: int = 0
    enough: int = 0
    failures: list[str] = field(default_factory=list)
    sentences: dict[str, str] = field(default_factory=dict)


class _Trial:
    """A command on a disk of its own."""

    def __init__(self, work: Work, folder: Path, disk: Disk, more: dict[str, str]) -> None:
        self.work, self.disk, self._folder = work, disk, folder
        # Beside them, where there is room, lie the caches of the packages.
        caches = {"XDG_CACHE_HOME": str(folder.parent / "cache"), "MPLCONFIGDIR": str(folder.parent)}
        self._more = {**caches, **work.environment, **more}
        self._warm = warm_python_for(environment(**self._more))
        self.found = Refused()

    def words(self) -> list[str]:
        return self.work.words(self._folder, self.disk.path)

    def goes_on(self) -> list[str]:
        return self.work.goes_on(self._folder, self.disk.path)

    def other(self) -> list[str]:
        assert self.work.other is not None
        return self.work.other(self._folder, self.disk.path)

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        if self.work.processes > 1:
            return run_together(words, cwd=REPOSITORY, timeout_seconds=PATIENCE_SECONDS, **self._more)
        settings = environment(**self._more)
        return self._warm.start(words, cwd=REPOSITORY, environment=settings).wait(PATIENCE_SECONDS)

    def succeed(self, words: list[str], when: str) -> Files | None:
        """What the command writes where there is room."""
        result = self.run(words)
        if result.returncode != 0 and not (result.returncode == 2 and "finished" in result.stderr):
            self.found.failures.append(f"{when}: status {result.returncode}: {result.stderr[-300:]}")
            return None
        return self.work.results(self.disk.path)

    def refused(self, words: list[str], when: str) -> bool:
        """Whether the command was refused; what it says and leaves is looked at."""
        result = self.run(words)
        if result.returncode == 0:
            self.found.enough += 1
            return False
        self.found.refused += 1
        said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        # A plan goes on to its other rows, and says in the end what failed.
        rows = [line.strip() for line in result.stdout.splitlines() if line.startswith("  failed: ")]
        said, status = (rows, 1) if rows else (said, 2)
        sentence = (said or [result.stderr[-300:]])[-1]
        self.found.sentences[when] = sentence
        if "Traceback" in result.stderr:
            self.found.failures.append(f"{when}: a traceback: {result.stderr[-600:]}")
        elif result.returncode != status or not said:
            self.found.failures.append(f"{when}: status {result.returncode}: {result.stderr[-600:]}")
        elif len(sentence) > MOST_LETTERS or ".partial" in sentence or str(self.disk.path) not in sentence:
            self.found.failures.append(f"{when}: it says: {sentence}")
        if left := remains(self.disk.path):
            self.found.failures.append(f"{when}: left behind: {left}")
        return True

    def compare(self, found: Files | None, expected: Files | None, when: str) -> None:
        if found is None or expected is None:
            return
        different = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        if different:
            self.found.failures.append(f"{when}: other results: {different}")


def take_the_disk(work: Work, shares: tuple[float, ...] = SHARES) -> Refused:
    """Tries a command on disks that have room for shares of what it writes, and on one that is read-only.

    Where the command replaces what is there, that must stay until the new is whole.
    """
    with tempfile.TemporaryDirectory(prefix="disks-") as name:
        folder = Path(name) / "in"
        folder.mkdir()
        work.prepare(folder)
        with disk_at(Path(name) / "out") as disk, work.beside(folder) as more:
            trial = _Trial(work, folder, disk, more)
            expected = trial.succeed(trial.words(), "with room")
            assert expected, trial.found.failures
            size = sum(map(len, files_of(disk.path).values()))
            for share in shares:
                when = f"room for {share:.0%}"
                disk.empty()
                disk.leave_room(int(share * size))
                if trial.refused(trial.words(), when):
                    disk.give_back()
                    trial.compare(trial.succeed(trial.goes_on(), f"after {when}"), expected, f"after {when}")
            disk.empty()
            disk.read_only()
            trial.refused(trial.words(), "read-only")
            disk.give_back()
            trial.compare(trial.succeed(trial.goes_on(), "after read-only"), expected, "after read-only")
            if work.other is not None:
                _replace(trial, size, shares)
            return trial.found


def _replace(trial: _Trial, size: int, shares: tuple[float, ...]) -> None:
    disk = trial.disk
    expected = trial.succeed(trial.other(), "replacing with room")
    for share in (*shares, None):
        when = "replacing, read-only" if share is None else f"replacing, room for {share:.0%}"
        disk.empty()
        before = trial.succeed(trial.words(), when)
        if share is None:
            disk.read_only()
        else:
            disk.leave_room(int(share * size))
        if trial.refused(trial.other(), when):
            trial.compare(trial.work.results(disk.path), before, f"{when}: what was there")
            disk.give_back()
            trial.compare(trial.succeed(trial.other(), f"after {when}"), expected, f"after {when}")
