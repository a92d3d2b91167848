"""The registry of benchmarks. To add one of an existing kind, write its object in a file and add a line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from downstream.kinds import Benchmark, Kind, settings_elsewhere
from downstream.settings import DownstreamSettings
from pretrain.settings.files import read_record, settings_of
from shards.registry import Registry

BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    {
        "ucmerced": "downstream.scenes.ucmerced:UCMERCED",
        "resisc45": "downstream.scenes.resisc45:RESISC45",
        "aid": "downstream.scenes.aid:AID",
        "folder": "downstream.scenes.folder:FOLDER",
        "demo-scenes": "downstream.scenes.demo_scenes:DEMO_SCENES",
        "advance": "downstream.audiovisual.advance:ADVANCE",
        "demo-audiovisual": "downstream.audiovisual.demo_audiovisual:DEMO_AUDIOVISUAL",
        "deepglobe": "downstream.landcover.deepglobe:DEEPGLOBE",
        "demo-landcover": "downstream.landcover.demo_landcover:DEMO_LANDCOVER",
        "advance-transfer": "downstream.transfer.benchmark:ADVANCE_TRANSFER",
        "sound-events": "downstream.transfer.benchmark:SOUND_EVENTS",
        "tau-scenes": "downstream.tau.benchmark:TAU_SCENES",
        "demo-tau": "downstream.tau.demo_tau:DEMO_TAU",
    },
    takes_outside_code=True,
    instance_of="downstream.kinds:Benchmark",
)
"""All benchmarks, in the order of the report."""


def kind_of(benchmark: str) -> Kind:
    """The kind of the benchmark with this name.

    Raises:
        UserError: there is no such benchmark.
    """
    return BENCHMARKS[benchmark].kind


def defaults_of(benchmark: str, protocol: str) -> DownstreamSettings:
    """The default settings of a protocol on a benchmark.

    Raises:
        UserError: there is no such benchmark, or it has no such protocol.
    """
    return dataclasses.replace(kind_of(benchmark).protocol(protocol, benchmark).settings, benchmark=benchmark)


def load_run_settings(path: Path) -> DownstreamSettings:
    """Loads the settings of a run from its `config.yaml`.

    Older versions wrote the settings of all kinds to every file. Those of other kinds have no effect on this run and
    are ignored.

    Raises:
        UserError: the file is missing or not YAML, a benchmark or setting is unknown, or a value has the wrong type.
    """
    record = read_record(path)
    kind = kind_of(record.get("benchmark", DownstreamSettings.benchmark))
    return settings_of(kind.settings, _without(record, settings_elsewhere(kind)), path)


def _without(record: dict[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    """A record without the settings with these dotted names, and without groups that become empty."""
    kept = {}
    for name, value in record.items():
        if isinstance(value, dict) and value:
            value = _without(value, names, f"{prefix}{name}.")
            if not value:
                continue
        elif f"{prefix}{name}" in names:
            continue
        kept[name] = value
    return kept
