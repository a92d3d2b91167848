"""The benchmarks, by name; a new one of a kind that exists is a file for its object and a line here."""

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
"""All of them, in the order of reports."""


def kind_of(benchmark: str) -> Kind:
    """The kind of the benchmark of a name.

    Raises:
        UserError: there is no such benchmark.
    """
    return BENCHMARKS[benchmark].kind


def defaults_of(benchmark: str, protocol: str) -> DownstreamSettings:
    """The settings of a protocol on a benchmark, before the command line or a plan changes them.

    Raises:
        UserError: there is no such benchmark, or it has no such protocol.
    """
    return dataclasses.replace(kind_of(benchmark).protocol(protocol, benchmark).settings, benchmark=benchmark)


def load_run_settings(path: Path) -> DownstreamSettings:
    """The settings of a run, from its `config.yaml`.

    An older Earshot wrote the settings of all kinds into every file. Those of other kinds never had an effect on this
    run, so they are left out.

    Raises:
        UserError: no such file, not YAML, an unknown benchmark or setting, or a value of a wrong type.
    """
    record = read_record(path)
    kind = kind_of(record.get("benchmark", DownstreamSettings.benchmark))
    return settings_of(kind.settings, _without(record, settings_elsewhere(kind)), path)


def _without(record: dict[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    """A record without the values of some dotted names, and without the groups that are empty then."""
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
