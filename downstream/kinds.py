"""Kinds of benchmark: their protocols and settings, checks, runners and reporting.

A benchmark (AID, DeepGlobe, …) is a light object that names its kind; a kind is a light object that names its code.
Neither imports torch, so that the command line, plans and reports can ask them. To add a benchmark of a kind that
exists: a file for the object and a line in `downstream.benchmarks`. To add a kind: a folder for it and a line in
`KINDS`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from downstream.protocols import BenchmarkProtocol
from downstream.results import RESULTS_NAME, Results
from downstream.settings import DownstreamSettings
from downstream.tables import Reporting
from pretrain.settings.files import flatten
from pretrain.settings.rules import check_rules
from shards.errors import UserError
from shards.registry import Registry, nearest

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pretrain.preemption import PreemptionWatch


@dataclass(frozen=True)
class Kind:
    """Properties shared by all benchmarks of one kind.

    Attributes:
        name: in `KINDS`.
        title: in sentences: "land-cover mapping".
        protocols: the ways to run it, the first of them "paper"; their settings are all of one dataclass.
        reporting: its scores and tables.
        checker: `module:function` from (benchmark, settings) to the part of the data that a run uses; it refuses by a
            `UserError` everything that can be known to be wrong without weights.
        runner: `module:function` from (benchmark, settings, accelerator, preemption, *, resume) to whether the run came
            to its end; False: preempted, and it can be resumed.
    """

    name: str
    title: str
    protocols: tuple[BenchmarkProtocol, ...]
    reporting: Reporting
    checker: str
    runner: str

    @property
    def settings(self) -> type[DownstreamSettings]:
        """The dataclass of its settings."""
        return type(self.protocols[0].settings)

    def protocol(self, name: str, benchmark: str) -> BenchmarkProtocol:
        """The protocol with this name.

        Raises:
            UserError: there is no such protocol; the message lists the protocols.
        """
        names = [protocol.name for protocol in self.protocols]
        if name not in names:
            near = nearest(name, names).strip()
            raise UserError(f"protocol must be {_either(names)} for {benchmark}, got {name}" + (near and f"; {near}"))
        return self.protocols[names.index(name)]

    def check(self, benchmark: Benchmark, settings: DownstreamSettings) -> Any:
        """Makes the checks of a run before its first step, except for its weights, which may not exist yet.

        Returns:
            What the kind's checker returns, such as the data.

        Raises:
            UserError: settings and data don't fit together, or one of them is wrong by itself.
        """
        check_rules(settings)
        self.protocol(settings.protocol, settings.benchmark)
        return _code(self.checker)(benchmark, settings)

    def run(
        self,
        benchmark: Benchmark,
        settings: DownstreamSettings,
        accelerator: Accelerator,
        preemption: PreemptionWatch,
        *,
        resume: bool,
    ) -> bool:
        """Runs a benchmark and writes its results to `settings.out`.

        Returns:
            Whether it finished; False if it was preempted and can be resumed.

        Raises:
            UserError: data, weights and settings don't match, or there is nothing to resume.
        """
        if resume:
            self._refuse_finished(settings)
        finished: bool = _code(self.runner)(benchmark, settings, accelerator, preemption, resume=resume)
        return finished

    def _refuse_finished(self, settings: DownstreamSettings) -> None:
        if not (settings.out / RESULTS_NAME).is_file():
            return
        if not self.protocol(settings.protocol, settings.benchmark).can_train_further:
            raise UserError(f"nothing to resume at {settings.out}: it is finished; give another --out to run it again")
        trained = Results.read(settings.out).epochs[-1]["epoch"]
        if trained >= settings.epochs:
            raise UserError(
                f"epochs must be > {trained}, the epochs that the run in {settings.out} has already trained, got "
                f"{settings.epochs}; give a larger --epochs to continue training"
            )


@dataclass(frozen=True)
class Benchmark:
    """Description of a data set before it is opened; each kind adds how its data are found.

    Attributes:
        kind: how it is run.
        name: as on the command line.
        title: as in tables.
    """

    kind: ClassVar[Kind]

    name: str
    title: str

    def is_generated_in(self, root: Path) -> bool:  # noqa: ARG002 - data of few benchmarks are generated
        """Whether a run would first write the data into their folder."""
        return False

    def check_root(self, root: Path) -> None:
        """Checks that the root is a folder.

        Raises:
            UserError: it is not.
        """
        if not root.is_dir():
            raise UserError(f"root {root} is not a folder; give the folder with {self.title}")


KINDS: Registry[Kind] = Registry(
    "kind of benchmark",
    {
        "scenes": "downstream.scenes.kind:SCENES",
        "audiovisual": "downstream.audiovisual.kind:AUDIOVISUAL",
        "landcover": "downstream.landcover.kind:LANDCOVER",
        "transfer": "downstream.transfer.kind:TRANSFER",
        "sound-events": "downstream.transfer.kind:SOUND_EVENTS",
        "tau": "downstream.tau.kind:TAU",
    },
)
"""The kinds, by name."""


def settings_elsewhere(kind: Kind) -> dict[str, list[Kind]]:
    """Settings of other kinds that this one doesn't have: dotted names, and the kinds they belong to."""
    own = set(flatten(kind.settings()))
    found: dict[str, list[Kind]] = {}
    for other in map(KINDS.load, KINDS):
        for name in flatten(other.settings()):
            if name not in own:
                found.setdefault(name, []).append(other)
    return found


def refuse_settings_elsewhere(kind: Kind, benchmark: str, names: Iterable[str]) -> None:
    """Rejects settings that have no effect on a benchmark because they belong to another kind.

    Args:
        kind: kind of the benchmark.
        benchmark: name of the benchmark.
        names: dotted names of the given settings, possibly including unknown ones.

    Raises:
        UserError: names the first such setting and the kinds it belongs to.
    """
    elsewhere = settings_elsewhere(kind)
    for name in names:
        if name in elsewhere:
            whose = _either([other.title for other in elsewhere[name]], "and")
            raise UserError(f"{name} has no effect on {benchmark}: it is a setting of {whose}; omit it")


def _either(names: list[str], word: str = "or") -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _code(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = pkgutil.resolve_name(name)
    return found
