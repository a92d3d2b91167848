"""An explorer in a process of its own, over a small set that can be looked at and listened to."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import PATIENCE_SECONDS, environment, python

START_SECONDS = 180


@contextmanager
def explorer(weights: Path, shards: Path, *words: str) -> Iterator[str]:
    """Runs `retrieval/run.py explore` on a free port; gives the page's address."""
    with explorer_output(weights, shards, *words) as printed:
        yield printed[-1]


@contextmanager
def explorer_output(weights: Path, shards: Path, *words: str) -> Iterator[list[str]]:
    """As `explorer`; gives the lines that it printed, and last the page's address."""
    command = python("retrieval/run.py", "explore", "--weights", weights, "--shards", shards, "--port", "0", *words)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    assert process.stdout is not None
    alarm = threading.Timer(START_SECONDS, process.kill)
    alarm.start()
    printed: list[str] = []
    try:
        for line in process.stdout:
            printed.append(line)
            found = re.search(r"http://\S+", line)
            if found:
                break
        else:
            raise AssertionError("the explorer ended before it served:\n" + "".join(printed))
        alarm.cancel()
        # What is printed later must not fill the pipe.
        threading.Thread(target=lambda: sys.stderr.writelines(process.stdout or ()), daemon=True).start()
        yield [*printed, found.group()]
    finally:
        alarm.cancel()
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)
