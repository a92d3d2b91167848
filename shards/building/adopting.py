"""The verb `adopt`: a plain WebDataset set of others becomes a shard set."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from shards.building.assigning import given_columns
from shards.building.commands import run_build
from shards.building.planning import BuildOptions
from shards.command_line.verbs import hidden, positional, shown_as
from shards.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AdoptOptions(BuildOptions):
    """Makes a shard set of any plain WebDataset set: tars of images, sounds and metadata, as others pack them.

    The tars are read by webdataset, unpacked beside --out, and built like recordings.
    """

    tars: Annotated[tuple[str, ...], positional(), shown_as("SOURCE [SOURCE …]")]
    """Folders of tars, tars (.tar, .tar.gz, .tar.bz2, .tar.xz), patterns such as train-{000000..000009}.tar, URLs."""

    image_key: str = ""
    """Member that is the image, such as jpg or sentinel.png; "jpg;png": the first that a sample has. By default the
    only image that samples have."""

    sound_key: str = ""
    """Member that is the sound, such as flac; as --image-key."""

    # Options of other corpora.
    source: Annotated[str, hidden()] = "webdataset"
    root: Annotated[Path | None, hidden()] = Path()
    table: Annotated[Path | None, hidden()] = None
    follow_links: Annotated[bool, hidden()] = False
    places: Annotated[int, hidden()] = 1200
    seed: Annotated[int, hidden()] = 0


def run_adopt(options: AdoptOptions) -> None:
    """Unpacks the tars and builds the shards, or this process's part of them.

    Raises:
        UserError: no tar was named, an option is not valid, or the set can't be adopted.
    """
    run_build(as_build(options))


def as_build(options: AdoptOptions) -> BuildOptions:
    """The options of the build that adopts a set.

    Raises:
        UserError: no tar was named, or a member is named twice.
    """
    if not options.tars:
        raise UserError("adopt needs tars: give a folder, files, a pattern such as train-{000000..000009}.tar, or URLs")
    given, _ = given_columns(options)
    members = {"image": options.image_key, "sound": options.sound_key}
    for kind, name in members.items():
        if name and kind in given:
            raise UserError(f"--{kind}-key {name} and --column {kind}={given[kind]} say the same; give one of them")
    words = tuple(f"{kind}={name}" for kind, name in members.items() if name)
    return dataclasses.replace(options, column=(*options.column, words))
