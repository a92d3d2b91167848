"""Python scripts as processes of their own, forked from one that has already imported the packages they are built on.

Of the seven seconds of processor time that a small command takes, five go into importing torch and the like. A fork
has them imported; Earshot itself is imported anew by each. A script has its own process number, environment, folder,
standard streams and exit status, and ends as under `python SCRIPT`. All scripts of one `WarmPython` share what is
fixed when Python and the packages are loaded: the seed of string hashes, and variables that are read then
(`READ_AT_IMPORT`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PACKAGES = (
    *("cv2", "PIL.Image", "soundfile", "scipy.stats", "yaml", "pydantic", "tyro", "rich.progress", "jinja2"),
    *("torch", "torchvision", "torchaudio", "safetensors.torch", "huggingface_hub", "accelerate", "albumentations"),
    *("webdataset", "sklearn.linear_model", "matplotlib.pyplot", "mlflow"),
)
READ_AT_IMPORT = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "HF_", "LD_", "CUDA_")
"""How the names of variables begin that Python or a package reads when it is loaded."""


class WarmPython:
    """A process that forks for every script that it is asked to run."""

    def __init__(self, environment: dict[str, str], *more_packages: str) -> None:
        """Starts it; the first script waits until the packages are imported.

        Args:
            environment: what Python and the packages find when they are loaded.
            more_packages: to be imported beside `PACKAGES`.
        """
        self._fixed = _read_at_import(environment)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *PACKAGES, *more_packages]
            # In a session of its own, where Ctrl-C on the tests does not reach it: it ends when they do.
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )

    def can_run(self, command: list[str], environment: dict[str, str]) -> bool:
        """Whether a command is a Python script for which the packages would be loaded as they are here."""
        return command[0] == sys.executable and command[1].endswith(".py") and self.is_loaded_as(environment)

    def is_loaded_as(self, environment: dict[str, str]) -> bool:
        """Whether the packages would be loaded as they are here."""
        return _read_at_import(environment) == self._fixed

    def start(self, command: list[str], *, cwd: Path, environment: dict[str, str]) -> WarmProcess:
        """Starts a command that `can_run` approves of."""
        return WarmProcess(self._requests, command, cwd, environment)

    def close(self) -> None:
        """Ends the process; its forks live on."""
        self._requests.close()
        self._process.wait()


class WarmProcess:
    """A script that runs, what it prints going into files.

    Attributes:
        pid: its process number.
    """

    def __init__(self, requests: socket.socket, command: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._command = command
        self._printed = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 (`wait` closes them)
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"words": command[1:], "cwd": str(cwd), "environment": environment})
        with theirs:
            socket.send_fds(requests, [request.encode()], [theirs.fileno(), *(file.fileno() for file in self._printed)])
        self.pid = self._answer()

    def wait(self, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
        """Waits for the end: the exit status and what was printed.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was killed.
        """
        with self._answers, self._printed[0] as stdout, self._printed[1] as stderr:
            self._answers.settimeout(timeout_seconds)
            try:
                status = self._answer()
            except BaseException as error:
                self.kill()
                self._answers.settimeout(None)
                self._answer()
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(self._command, timeout_seconds, _text(stdout)) from None
                raise
            return subprocess.CompletedProcess(self._command, status, _text(stdout), _text(stderr))

    def kill(self) -> None:
        """Sends it SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether the script has ended, or been ended."""
        return bool(select.select([self], [], [], 0)[0])

    def fileno(self) -> int:
        """Ready to be read, for `select`, when the script has ended."""
        return self._answers.fileno()

    def _answer(self) -> int:
        content = self._answers.recv(64)
        assert content, "the process that forks scripts has ended"
        return int(content)


def wait_for_all(processes: list[WarmProcess], timeout_seconds: float) -> list[subprocess.CompletedProcess[str]]:
    """Waits for processes that work together; when one fails, the others are killed, as by a launcher."""
    deadline = time.monotonic() + timeout_seconds
    results: dict[WarmProcess, subprocess.CompletedProcess[str]] = {}
    while len(results) < len(processes):
        waiting = [process for process in processes if process not in results]
        left = max(0.0, deadline - time.monotonic())
        for process in select.select(waiting, [], [], left)[0] or waiting:
            results[process] = process.wait(max(0.0, deadline - time.monotonic()))
            if results[process].returncode != 0:
                for other in waiting:
                    other.kill()
    return [results[process] for process in processes]


def _read_at_import(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


def fork_for_each_request(requests: socket.socket) -> dict[str, Any]:
    """Returns in the forks alone, with their output in place: what was asked for."""
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for ready in select.select([requests.fileno(), *running], [], [])[0]:
            if ready in running:
                number, answers = running.pop(ready)
                _answer(answers, os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))
                answers.close()
                os.close(ready)
                continue
            content, descriptors, *_ = socket.recv_fds(requests, 1 << 20, 3)
            if not content:
                sys.exit()
            answers, printed = socket.socket(fileno=descriptors[0]), descriptors[1:]
            if number := os.fork():
                _answer(answers, number)
                running[os.pidfd_open(number)] = number, answers
            else:
                os.dup2(printed[0], 1)
                os.dup2(printed[1], 2)
            for file in printed:
                os.close(file)
            if not number:
                for file, (_, others) in running.items():
                    os.close(file)
                    others.close()
                answers.close()
                requests.close()
                return dict(json.loads(content))


def _answer(answers: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        answers.send(str(number).encode())


def run_script(words: list[str], cwd: str, environment: dict[str, str]) -> None:
    """Does what `python WORDS` does in a folder and an environment."""
    import numpy as np

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    np.random.seed()  # seeded once when it was imported, where other processes have their own
    sys.argv = words
    sys.path[0] = str(Path(words[0]).resolve().parent)
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    for package in sys.argv[2:]:
        importlib.import_module(package)
    gc.freeze()  # what is shared is not walked through by every fork
    run_script(**fork_for_each_request(socket.socket(fileno=int(sys.argv[1]))))
