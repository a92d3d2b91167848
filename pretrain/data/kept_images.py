"""Where a run keeps the images that it has decoded: temporary files on the local disk of each machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain import distributed
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT, VALIDATION_SPLIT
from shards.streaming.decoded_images import DecodedImages
from shards.streaming.reading import ShardSet
from shards.temporary_files import Temporary

FOLDER = "decoded-images"
LEFT_FREE = 0.5
"""Of the free space when the run begins."""


@contextmanager
def kept_images(folder: Path | None) -> Iterator[DecodedImages | None]:
    """Decoded images below a folder, which all processes of a machine share; None: they are not kept.

    They are removed at the end of the block, or by the next run that uses the folder if this one is killed.

    Raises:
        UserError: the folder can't be written.
    """
    if folder is None:
        yield None
        return
    temporary, fault, place = None, None, (folder, 0)
    if distributed.is_first_on_machine():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Temporary(folder / FOLDER, is_folder=True)
            place = temporary.path, int(LEFT_FREE * shutil.disk_usage(folder).free)
        except OSError as error:
            fault = f"data.decoded_dir {folder} can't be written: {error.strerror}; give a folder on a local disk"
    try:
        place, fault = distributed.from_first_on_machine((place, fault))
        if fault:
            raise UserError(fault)
        yield DecodedImages(*place)
    finally:
        if temporary:
            temporary.discard()


def keep_images(shard_set: ShardSet, decoded: DecodedImages) -> None:
    """Keeps the images that are read from a shard set, and says so if there is room for a part of them only."""
    shard_set.decoded = decoded
    wanted = sum(shard_set.num_samples(split) for split in (TRAIN_SPLIT, VALIDATION_SPLIT))
    room = decoded.room_bytes // shard_set.sample(VALIDATION_SPLIT, 0).image().nbytes
    if room < wanted and distributed.is_first_on_machine():
        print(
            f"data.decoded_dir: half of the free space holds about {room} of {wanted} decoded images; the others are "
            "decoded every time",
            flush=True,
        )
