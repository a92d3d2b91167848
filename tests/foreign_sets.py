"""Sets of pairs as others pack them: plain WebDataset tars, and Parquet files as the hub has them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
import webdataset
from sound_writers import sndfile_bytes

RATE_HZ = 16_000
TRAITS = 4


@dataclass(frozen=True)
class MadePair:
    """A pair that was made up."""

    number: int
    image: bytes
    sound: bytes
    longitude: float
    latitude: float


def made_pair(number: int, *, image: str = ".jpg", sound: str = "FLAC", seconds: float = 4.0) -> MadePair:
    """A pair whose image and sound share a trait, so that something can be learned."""
    generator = np.random.default_rng(number)
    trait = number % TRAITS
    pixels = generator.integers(0, 90, (48, 48, 3)) + np.array([50 * trait, 30, 150 - 50 * trait]).clip(0)
    encoded = cv2.imencode(image, pixels.astype(np.uint8))[1].tobytes()
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = 0.3 * np.sin(2 * np.pi * 300 * 2**trait * time) + generator.normal(0, 0.02, len(time))
    return MadePair(
        number, encoded, sndfile_bytes(samples.astype(np.float32), RATE_HZ, sound), 7 + number / 100, 50 + number / 100
    )


Describe = Callable[[MadePair], dict[str, Any]]
"""The members of a pair: name → bytes, or a record for JSON."""


def usual_members(pair: MadePair) -> dict[str, Any]:
    """An image, a sound and a record with nested coordinates."""
    record = {
        "caption": f"place {pair.number}",
        "gps": {"lat": pair.latitude, "lon": pair.longitude},
        "author": f"author {pair.number % 3}",
        "license": "CC BY 4.0",
        "session": f"s{pair.number // 4}",
    }
    return {"jpg": pair.image, "flac": pair.sound, "json": record}


def write_tars(
    folder: Path, counts: dict[str, int], *, per_tar: int = 8, members: Describe = usual_members, **options: Any
) -> Path:
    """A plain WebDataset set, written by webdataset.

    Args:
        folder: made by this function.
        counts: pairs by the word that the names of the tars begin with.
        per_tar: pairs of each tar.
        members: the members of a pair.
        options: of `made_pair`; `key` is a function from the number of a pair to its key, `suffix` that of the tars.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key, suffix = options.pop("key", lambda number: f"{number:06d}"), options.pop("suffix", ".tar")
    number = 0
    for word, count in counts.items():
        for shard, start in enumerate(range(0, count, per_tar)):
            path = folder / f"{word}-{shard:06d}{suffix}"
            with webdataset.TarWriter(str(path), compress=suffix.endswith("gz"), mtime=0) as tar:
                for _ in range(min(per_tar, count - start)):
                    tar.write({"__key__": key(number), **members(made_pair(number, **options))})
                    number += 1
    return folder


def write_img2dataset(folder: Path, count: int) -> Path:
    """A shard in the layout of img2dataset: jpg, txt and json, and a table and statistics beside the tar."""

    def members(pair: MadePair) -> dict[str, Any]:
        record = {
            **{"caption": f"place {pair.number}", "url": f"https://example.org/{pair.number}.jpg"},
            **{"key": f"{pair.number:09d}", "status": "success", "error_message": None, "width": 48, "height": 48},
            **{"exif": '{"Image Tag 0x0100": "48"}', "longitude": pair.longitude, "latitude": pair.latitude},
        }
        return {"jpg": pair.image, "txt": f"place {pair.number}", "json": record, "mp3": pair.sound}

    write_tars(folder, {"": count}, per_tar=count, members=members, key=lambda number: f"{number:09d}", sound="MP3")
    (folder / "-000000.tar").rename(folder / "00000.tar")
    rows = [{"key": f"{number:09d}", "status": "success"} for number in range(count)]
    rows.append({"key": f"{count:09d}", "status": "failed_to_download"})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "00000.parquet")
    (folder / "00000_stats.json").write_text(json.dumps({"count": count + 1, "successes": count}))
    return folder


HUB_FEATURES = {
    "sample_id": {"dtype": "string", "_type": "Value"},
    "short_id": {"dtype": "string", "_type": "Value"},
    "audio": {"sampling_rate": 32000, "_type": "Audio"},
    "googleearth_image": {"_type": "Image"},
    "audio_caption": {"dtype": "string", "_type": "Value"},
    "mel_features": {"shape": [1, 1, 4, 2], "dtype": "float32", "_type": "Array4D"},
    "latitude": {"dtype": "float32", "_type": "Value"},
    "longitude": {"dtype": "float32", "_type": "Value"},
    "date_recorded": {"dtype": "string", "_type": "Value"},
}
"""Columns of MVRL/SoundingEarth, as its authors' code writes them; those of further captions are left out."""

MEDIA = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
HUB_SCHEMA = pyarrow.schema(
    [
        *(("sample_id", pyarrow.string()), ("short_id", pyarrow.string())),
        *(("audio", MEDIA), ("googleearth_image", MEDIA), ("audio_caption", pyarrow.string())),
        ("mel_features", pyarrow.list_(pyarrow.list_(pyarrow.list_(pyarrow.list_(pyarrow.float32()))))),
        *(("latitude", pyarrow.float32()), ("longitude", pyarrow.float32()), ("date_recorded", pyarrow.string())),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": HUB_FEATURES}})},
)

HUB_CARD = """---
license: cc-by-4.0
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---

# Pairs
"""


def hub_row(pair: MadePair) -> dict[str, Any]:
    """A row in the shape of MVRL/SoundingEarth."""
    return {
        **{"sample_id": f"aporee-{pair.number}", "short_id": str(pair.number)},
        "audio": {"bytes": pair.sound, "path": f"{pair.number}.mp3"},
        "googleearth_image": {"bytes": pair.image, "path": f"{pair.number}.jpg"},
        **{"audio_caption": f"birds at place {pair.number}", "mel_features": [[[[0.0, 1.0]] * 4]]},
        **{"latitude": pair.latitude, "longitude": pair.longitude, "date_recorded": "2019-05-04"},
    }


def write_parquet(
    root: Path,
    counts: dict[str, int],
    *,
    row: Callable[[MadePair], dict[str, Any]] = hub_row,
    schema: Any = HUB_SCHEMA,
    per_file: int = 12,
    rows_per_group: int = 5,
    card: str = HUB_CARD,
    sound: str = "MP3",
) -> Path:
    """Parquet files in the hub's layout, `data/train-00000-of-00002.parquet`, and a card."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    if card:
        (root / "README.md").write_text(card)
    number = 0
    for split, count in counts.items():
        starts = range(0, count, per_file)
        for file, start in enumerate(starts):
            rows = [row(made_pair(number + each, sound=sound)) for each in range(min(per_file, count - start))]
            number += len(rows)
            table = pyarrow.Table.from_pylist(rows, schema=schema)
            path = root / "data" / f"{split}-{file:05d}-of-{len(starts):05d}.parquet"
            pyarrow.parquet.write_table(table, path, row_group_size=rows_per_group)
    return root


def samples_of(shards: Path, split: str | None = None) -> Iterator[dict[str, Any]]:
    """The samples of a shard set as plain webdataset reads them."""
    for tar in sorted(shards.glob(f"{split or '*'}-*.tar")):
        yield from webdataset.WebDataset(str(tar), shardshuffle=False)


def wav_of(samples: Sequence[float]) -> bytes:
    """A WAV file."""
    memory = io.BytesIO()
    soundfile.write(memory, np.asarray(samples), RATE_HZ, format="WAV")
    return memory.getvalue()
