"""Files as inputs of the towers: by several processes as by one, in order, and with the ones that can't be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from retrieval.file_inputs import FILES_PER_PROCESS, Inputs, read_inputs
from shards.errors import RejectedPair, UserError

NUM_FILES = 2 * FILES_PER_PROCESS + 3


@dataclass(frozen=True)
class Numbered:
    """The number in a file's name; every tenth file is rejected, and one kills its process."""

    deadly: int | None = None

    def __call__(self, path: Path) -> Inputs:
        number = int(path.stem)
        if number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if number % 10 == 3:
            raise RejectedPair("odd number", path.name)
        if number % 10 == 4:
            raise FileNotFoundError(2, "No such file or directory")
        return np.array([number, os.getpid()])


def paths(count: int) -> list[Path]:
    return [Path(f"{number}.png") for number in range(count)]


def test_inputs_come_in_order_whoever_reads_them() -> None:
    several = list(read_inputs(paths(NUM_FILES), Numbered()))
    alone = [attempt for path in paths(NUM_FILES) for attempt in read_inputs([path], Numbered())]
    assert len(several) == NUM_FILES
    for number, (one, other) in enumerate(zip(several, alone, strict=True)):
        if number % 10 == 3:
            assert one == other == ("odd number", f"{number}.png")
        elif number % 10 == 4:
            assert one == other == ("unreadable file", "No such file or directory")
        else:
            assert one[0] == other[0] == number
    readers = {int(attempt[1]) for attempt in several if isinstance(attempt, np.ndarray)}
    assert os.getpid() not in readers
    assert len(readers) == min(2, len(os.sched_getaffinity(0)))


def test_a_process_that_dies_names_what_it_may_have_read() -> None:
    with pytest.raises(UserError, match=r"a process that decodes files ended: .* \(being read: .*70\.png.*\); move"):
        list(read_inputs(paths(NUM_FILES), Numbered(deadly=70)))


SCRIPT = """
import sys
from pathlib import Path
from retrieval.file_inputs import ImageInput, read_inputs
from shards.raster_settings import RasterSettings
files = sorted(Path(sys.argv[1]).iterdir())
inputs = list(read_inputs(files, ImageInput(RasterSettings(), 32)))
print(len(inputs), sum(int(image[0, 0, 0, 0]) for image in inputs))
"""


def test_a_script_without_a_guard_is_run_once(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(2 * FILES_PER_PROCESS):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.full((40, 40, 3), number, np.uint8))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "images")]
    variables = {**os.environ, "PYTHONPATH": str(repository)}
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("128 8128\n", 0), result.stderr


def test_processes_end_when_the_reader_stops_early() -> None:
    inputs = read_inputs(paths(NUM_FILES), Numbered())
    reader = int(next(inputs)[1])
    inputs.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(reader, 0)
