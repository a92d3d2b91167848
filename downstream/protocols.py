"""Protocols: the ways to run a benchmark, each with its settings."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from downstream.settings import DownstreamSettings

TRAINING_SETTINGS = re.compile(r"epochs|max_seconds|log_every_steps|(optimizer|validation|checkpoint)\..*")


@dataclass(frozen=True)
class BenchmarkProtocol:
    """One way to run a benchmark.

    Attributes:
        settings: its defaults, which the command line may change; `settings.protocol` is its name.
        description: a few words for `--help`.
        is_resumable: whether a preempted run saves something that it can resume from.
        can_train_further: whether a finished run can be resumed for more epochs, since its learning rate is constant.
        trains: whether networks are trained; if not, settings of training have no effect.
        runner: `module:function` that carries it out, for kinds whose protocols differ in more than their settings.
    """

    settings: DownstreamSettings
    description: str
    is_resumable: bool = True
    can_train_further: bool = False
    trains: bool = True
    runner: str = ""

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.settings.protocol

    def idle_settings(self, names: Iterable[str]) -> list[str]:
        """Those of some dotted names that have no effect, because they concern training."""
        return [] if self.trains else [name for name in names if TRAINING_SETTINGS.fullmatch(name)]

    def run(self, *arguments: Any) -> Any:
        """Calls its `runner`."""
        return pkgutil.resolve_name(self.runner)(*arguments)
