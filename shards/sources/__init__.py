"""The corpora that shards are built from; a new one is a file here and a line in `SOURCES`."""

from __future__ import annotations

import difflib

from shards.errors import UserError
from shards.sources.demo import DemoSource
from shards.sources.recordings import RecordingsSource
from shards.sources.soundingearth import SoundingEarthSource
from shards.sources.source import Source

SOURCES: dict[str, type[Source]] = {
    "soundingearth": SoundingEarthSource,
    "recordings": RecordingsSource,
    "demo": DemoSource,
}


def find_source(name: str) -> type[Source]:
    """The source of that name.

    Raises:
        UserError: there is none; names the choices.
    """
    if name not in SOURCES:
        nearest = difflib.get_close_matches(name, SOURCES, n=1)
        suggestion = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise UserError(f"unknown --source {name!r}; {suggestion}choose one of: {', '.join(SOURCES)}")
    return SOURCES[name]
