"""Tries changed inputs in processes of their own: what becomes of each, in what time and memory, and what it opens."""

from __future__ import annotations

import ctypes
import os
import random
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from fuzz.mutations import Mutation

PATIENCE_SECONDS = 60.0
"""For one input; valid ones take less than a second."""
MOST_MEMORY_BYTES = 3 << 30
"""How much a process may grow over all its inputs."""
MOST_LETTERS = 400
"""Of a sentence, without the folder of its file."""
ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"


@dataclass(frozen=True)
class Family:
    """A kind of input.

    Attributes:
        name: unique.
        write: writes a valid input into an empty folder, and returns the file to be changed.
        use: does with the file, or its folder, what a command does; raises what the command would report.
        change: how the file is changed.
        refusals: the exceptions by which code refuses an input in a sentence.
    """

    name: str
    write: Callable[[Path], Path]
    use: Callable[[Path], object]
    change: Mutation
    refusals: tuple[type[BaseException], ...]


@dataclass
class Findings:
    """What became of the inputs of a family.

    Attributes:
        counts: by `ACCEPTED`, `REFUSED`, `FAILED`.
        failures: number of each input that failed, and why.
        peak_bytes: how much the process grew at most.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    peak_bytes: int = 0

    def add(self, number: int, outcome: str) -> None:
        """Counts the outcome of an input; one that is neither `ACCEPTED` nor `REFUSED` says why it failed."""
        kind = outcome if outcome in (ACCEPTED, REFUSED) else FAILED
        self.counts[kind] += 1
        if kind == FAILED:
            self.failures[number] = outcome


class Changed(Protocol):
    """What an input is changed by."""

    @property
    def name(self) -> str:
        """Unique."""

    @property
    def change(self) -> Mutation:
        """How the file is changed."""


def try_family(family: Family, numbers: range, seed: int) -> Findings:
    """Tries the inputs with these numbers; the seed, the family and a number fix an input."""
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        canary = _write_canary(folder)
        template = folder / "valid"
        template.mkdir()
        target = _write_valid(family, template)
        opens = _Opens(canary)
        start = numbers.start
        while start < numbers.stop:
            start = _try_in_process(family, folder, target, range(start, numbers.stop), seed, findings)
            if opens.seen() and not any("opened" in why for why in findings.failures.values()):
                findings.add(start - 1, "a file outside of the input's folder was opened")
        opens.close()
    return findings


def changed_input(family: Changed, content: bytes, seed: int, number: int) -> bytes:
    """The input with this number."""
    return family.change(content, random.Random(f"{seed}/{family.name}/{number}"))


def verdict(family: Family, use: Callable[[], object], folder: Path) -> str:
    """`ACCEPTED`, `REFUSED`, or why the input failed."""
    try:
        use()
    except family.refusals as refusal:
        sentence = str(refusal).replace(str(folder), "")
        if len(sentence) > MOST_LETTERS:
            return f"a sentence of {len(sentence)} letters: {sentence[:120]}"
        if re.search(r"Traceback|object at 0x|\n\s+File ", sentence):
            return f"a sentence with Python's internals: {sentence[:120]}"
        return REFUSED
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        return f"{type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].lineno} ({place.name}): {error}"[
            :300
        ]
    return ACCEPTED


def _try_in_process(family: Family, folder: Path, target: Path, numbers: range, seed: int, findings: Findings) -> int:
    """Tries inputs in a fork until it ends or hangs; the number of the input to go on with."""
    child, lines = _forked(lambda out: _try_each(family, folder, target, numbers, seed, out))
    begun = numbers.start
    with lines:
        while True:
            if not select.select([lines], [], [], PATIENCE_SECONDS)[0]:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                findings.add(begun, f"no end within {PATIENCE_SECONDS:.0f} s")
                return begun + 1
            line = lines.readline().decode()
            if not line:
                break
            outcome, _, grown = line.rstrip("\n").rpartition("\t")
            findings.peak_bytes = max(findings.peak_bytes, int(grown))
            findings.add(begun, outcome)
            begun += 1
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if begun < numbers.stop and status != 0:
        findings.add(begun, f"the process ended with status {status}")
        begun += 1
    return begun


def _try_each(family: Family, folder: Path, target: Path, numbers: range, seed: int, out: int) -> None:
    watch = _watch_opens()
    before = _memory_bytes()
    content = (folder / "valid" / target).read_bytes()
    for number in numbers:
        place = folder / "tried"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / "valid", place)
        (place / target).write_bytes(changed_input(family, content, seed, number))
        watch.clear()
        outcome = verdict(family, lambda place=place: family.use(place / target), place)
        if watch:
            outcome = f"it opened or contacted {watch[0]}"
        grown = max(0, _memory_bytes() - before)
        if grown > MOST_MEMORY_BYTES:
            outcome = f"it took {grown / 1e9:.1f} GB"
        os.write(out, f"{' '.join(outcome.split())}\t{grown}\n".encode("utf-8", "replace"))
        if grown > MOST_MEMORY_BYTES:
            return  # the next ones would be blamed for it; they are tried in another process


def _write_valid(family: Family, folder: Path) -> Path:
    """Writes and tries the valid input in a fork, because threads that libraries begin here would be missing in others.

    Returns:
        The file to be changed, relative to the folder.
    """

    def write(out: int) -> None:
        file = family.write(folder)
        outcome = verdict(family, lambda: family.use(file), folder)
        os.write(out, f"{outcome}\t{file.relative_to(folder)}".encode())

    child, answer = _forked(write)
    with answer:
        outcome, _, target = answer.read().decode().partition("\t")
    os.waitpid(child, 0)
    assert outcome == ACCEPTED, f"the valid input of {family.name} is not accepted: {outcome or 'its process ended'}"
    return Path(target)


def _forked(work: Callable[[int], None]) -> tuple[int, BinaryIO]:
    """Does work in a fork that prints nothing: its process number, and what it writes to the file that it is given."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        return child, os.fdopen(reading, "rb")
    status = 1
    try:
        os.close(reading)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        work(writing)
        status = 0
    finally:
        os._exit(status)


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _watch_opens() -> list[str]:
    """A list to which is added what Python opens in the canary's folder, imports for an input, starts or contacts."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            name = os.fsdecode(arguments[0])
            if "canary" in os.path.realpath(name) or name == "/etc/hostname":
                seen.append(name)
        elif event == "import" and arguments[0] == "module":  # which inputs name as code of their own
            seen.append("the module that the input names")
        elif event in ("socket.connect", "os.system", "os.exec", "subprocess.Popen", "pty.spawn"):
            seen.append(f"{event} {arguments!r}")

    sys.addaudithook(hook)
    return seen


def _write_canary(folder: Path) -> Path:
    """Files beside the input's folder that no input has a right to."""
    canary = folder / "canary"
    canary.mkdir()
    for name in ("secret", "secret.jpg", "secret.wav", "secret.json", "secret.tif", "secret.tar"):
        (canary / name).write_bytes(b"secret")
    return canary


class _Opens:
    """Counts opens in a folder by any library, by inotify."""

    IN_OPEN = 0x20

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = libc.inotify_init1(os.O_NONBLOCK)
        assert self._file >= 0, os.strerror(ctypes.get_errno())
        assert libc.inotify_add_watch(self._file, os.fsencode(folder), self.IN_OPEN) >= 0

    def seen(self) -> int:
        """How many opens there were since the last call."""
        count = 0
        while select.select([self._file], [], [], 0)[0]:
            events = os.read(self._file, 1 << 16)
            while events:
                length = struct.unpack_from("iIII", events)[3]
                events = events[16 + length :]
                count += 1
        return count

    def close(self) -> None:
        """Ends the watch."""
        os.close(self._file)
