"""Ctrl-C during imports, which may swallow it or bury it in tracebacks: at once while a command loads, else after."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from types import FrameType, TracebackType

STOPPED = "stopped by the user"
STOPPED_STATUS = 128 + signal.SIGINT
ASK_AGAIN_SECONDS = 0.05


class _Handling(ABC):
    """Context manager that replaces Python's handling of SIGINT, or that of an outer context of this module.

    A process that was started with SIGINT ignored keeps it ignored, and a program with a handler of its own keeps that.
    Handlers belong to the main thread; in others, and in processes that `multiprocessing` started, which end with their
    parent, nothing is replaced.
    """

    def __init__(self) -> None:
        self._process: int | None = None
        self._former: object = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread() or _is_child():
            return
        former = signal.getsignal(signal.SIGINT)
        if former is signal.default_int_handler or isinstance(getattr(former, "__self__", None), _Handling):
            self._process, self._former = os.getpid(), former
            signal.signal(signal.SIGINT, self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A library may have set its own handler meanwhile.
        if self._former is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._former)  # type: ignore[arg-type]

    @abstractmethod
    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Handles SIGINT, as `signal.signal` calls it."""


class Loading(_Handling):
    """Context manager around imports and checks of settings, where nothing is to be saved or cleaned up yet.

    Ctrl-C ends the process with one line and its usual status, and raises no KeyboardInterrupt.
    """

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a fork, which may have to clean up
            signal.default_int_handler(number, frame)
        # Not by sys.stderr, which this may have interrupted.
        os.write(2, f"{STOPPED}\n".encode())
        os._exit(STOPPED_STATUS)


class Working(_Handling):
    """Context manager around a command's work: KeyboardInterrupt is raised once no import is in progress.

    A second Ctrl-C raises it at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waits = self._is_repeated = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits = False
        super().__exit__(kind, error, trace)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first = not self._waits or self._is_repeated
        self._is_repeated = False
        self._waits = is_first and _is_importing(frame)
        if not self._waits:
            signal.default_int_handler(number, frame)
        # Not threading.Thread, whose locks the interrupted code may hold.
        _thread.start_new_thread(self._ask_again, ())

    def _ask_again(self) -> None:
        time.sleep(ASK_AGAIN_SECONDS)
        if self._waits:
            self._is_repeated = True
            _thread.interrupt_main()


def _is_importing(frame: FrameType | None) -> bool:
    """Whether code that is being executed was called by an import."""
    while frame is not None:
        if frame.f_code.co_name == "_find_and_load" and "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _is_child() -> bool:
    """Whether `multiprocessing` started this process; its module is loaded if so, and importing it takes time."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None
