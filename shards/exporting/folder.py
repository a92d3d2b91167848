"""A folder with a table: images/, spectrograms/, previews/ and metadata.csv, for pandas and `--source recordings`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text
from shards.exporting.writer import Writer
from shards.manifest import ShardEntry
from shards.streaming.reading import StoredSample

DONE_FOLDER = ".export"
IMAGES, SPECTROGRAMS, PREVIEWS = "images", "spectrograms", "previews"


class FolderWithTable(Writer):
    """Files named by key, and a row of the table for each pair."""

    @override
    def has(self, shard: ShardEntry) -> bool:
        """A mark is written when all files of a shard are."""
        return self._mark(shard).is_file()

    @override
    def write(self, shard: ShardEntry, samples: Iterator[StoredSample]) -> None:
        """Writes the files of a shard's pairs."""
        for name in (IMAGES, SPECTROGRAMS, *([PREVIEWS] if self.contents.has_previews else [])):
            (self.out / name).mkdir(exist_ok=True)
        for sample in samples:
            (self.out / IMAGES / f"{sample.key}.jpg").write_bytes(sample.image_bytes())
            array = io.BytesIO()
            np.save(array, sample.frames(0, sample.num_frames), allow_pickle=False)
            (self.out / SPECTROGRAMS / f"{sample.key}.npy").write_bytes(array.getvalue())
            clip = sample.preview() if self.contents.has_previews else None
            if clip is not None:
                (self.out / PREVIEWS / f"{sample.key}.mp3").write_bytes(clip)
        write_text_atomically(self._mark(shard), "")

    @override
    def finish(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Writes the table: key, split, files, and the metadata."""
        sounds = ["mp3name"] if self.contents.has_previews else []
        names = list(self.contents.metadata)
        table = []
        for split, row in rows:
            key = row["key"]
            files = [f"{IMAGES}/{key}.jpg", f"{SPECTROGRAMS}/{key}.npy"]
            clip = self.out / PREVIEWS / f"{key}.mp3"
            files += [f"{PREVIEWS}/{key}.mp3" if clip.is_file() else ""] if sounds else []
            table.append([key, split, *files, *(_cell(row.get(name)) for name in names)])
        header = ["key", "split", "image", "spectrogram", *sounds, *names]
        write_text_atomically(self.out / "metadata.csv", csv_text(header, table))

    def _mark(self, shard: ShardEntry) -> Any:
        return self.out / DONE_FOLDER / f"{shard.name}.done"


def _cell(value: Any) -> object:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
