"""Where a run keeps the images that it has decoded: temporary files on the local disk of each machine."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain import distributed
from pretrain.settings.pretraining import DataSettings
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT, VALIDATION_SPLIT
from shards.streaming.cache import BYTES_PER_GB
from shards.streaming.decoded_images import DecodedImages
from shards.streaming.reading import ShardSet
from shards.temporary_files import Temporary

FOLDER = "earshot-decoded-images"
LEFT_FREE = 0.5
"""Of the free space when the run begins."""


@contextmanager
def kept_images(settings: DataSettings) -> Iterator[DecodedImages | None]:
    """A folder for decoded images, which all processes of a machine share; None: the settings want none.

    It is removed at the end of the block, or by the next run in the same place if this one is killed.

    Raises:
        UserError: it can't be written.
    """
    if not settings.decoded_gb:
        yield None
        return
    folder = settings.decoded_dir or Path(tempfile.gettempdir())
    temporary, fault, place = None, None, (folder, 0)
    if distributed.is_first_on_machine():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Temporary(folder / FOLDER, is_folder=True)
            place = temporary.path, int(LEFT_FREE * shutil.disk_usage(folder).free)
        except OSError as error:
            fault = (
                f"data.decoded_dir {folder} can't be written: {error.strerror}; give a folder on a local disk, or "
                "--data.decoded-gb 0 to decode images every time"
            )
    try:
        place, fault = distributed.from_first_on_machine((place, fault))
        if fault:
            raise UserError(fault)
        yield DecodedImages(*place)
    finally:
        if temporary:
            temporary.discard()


def keep_images(shard_set: ShardSet, decoded: DecodedImages, settings: DataSettings) -> None:
    """Keeps the images that are read from a shard set if the settings allow what they take.

    Where an image is decoded every time although a user may think otherwise, a sentence says so.
    """
    wanted = sum(shard_set.num_samples(split) for split in (TRAIN_SPLIT, VALIDATION_SPLIT))
    bytes_each = shard_set.sample(VALIDATION_SPLIT, 0).image().nbytes
    gb, room = wanted * bytes_each / BYTES_PER_GB, decoded.room_bytes // bytes_each
    sentence = None
    if gb <= settings.decoded_gb:
        shard_set.decoded = decoded
        if room < wanted:
            sentence = (
                f"half of the free space of {decoded.folder.parent} holds about {room} of {wanted} decoded images; "
                "the others are decoded every time (data.decoded_dir)"
            )
    elif settings.decoded_dir or settings.decoded_gb != DataSettings().decoded_gb:
        sentence = (
            f"the {wanted} decoded images take {gb:.3g} GB, more than data.decoded_gb {settings.decoded_gb:g}, so they "
            f"are decoded every time; give --data.decoded-gb {math.ceil(gb)}"
        )
    if sentence and distributed.is_first_on_machine():
        print(sentence, flush=True)
