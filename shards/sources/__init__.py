"""Corpora from which shards are built. To add one, write a file here and add a line to `SOURCES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.registry import Registry

if TYPE_CHECKING:
    from shards.sources.source import Source

SOURCES: Registry[type[Source]] = Registry(
    "--source",
    {
        "soundingearth": "shards.sources.soundingearth:SoundingEarthSource",
        "recordings": "shards.sources.recordings:RecordingsSource",
        "webdataset": "shards.unpacking.tar_source:WebDatasetSource",
        "parquet": "shards.unpacking.parquet_source:ParquetSource",
        "demo": "shards.sources.demo:DemoSource",
    },
    takes_outside_code=True,
    subclass_of="shards.sources.source:Source",
)
