"""Statistics of a shard set: splits, hours, bytes per pair, rejections, and distances from test to training places."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.building.repeated_images import HELD_OUT, describe_repeated, repeated_images
from shards.building.splitting import EARTH_RADIUS_KM
from shards.building.verifying import verify_shard
from shards.errors import UserError, first_line
from shards.manifest import Manifest, ShardEntry
from shards.progress import ProgressLine
from shards.raster_settings import RasterSettings
from shards.reporting.tally import CorpusTally
from shards.schema import PREVIEWS_FOLDER, SPLITS, place_of
from shards.streaming.entries import read_metadata
from shards.streaming.index import load_index, previews_checksum

FEW_PAIRS = 30
"""Splits with fewer pairs than this are warned of."""

Places = Sequence[tuple[float, float]] | NDArray[np.float64]
"""Longitude and latitude of each, in degrees."""

NEAR_METRES = (0, 100, 1000)
PROGRESS_ABOVE_PAIRS = 50_000
_SAME_PLACE_METRES = 0.001
"""Distances below this are rounding errors and count as 0 m, as between 180° east and 180° west."""


def describe_shards(folder: Path, tally: CorpusTally | None = None) -> dict[str, Any]:
    """Reads the manifest, the indexes and the samples' coordinates of a shard set.

    Args:
        folder: the shard set.
        tally: is given the metadata of all pairs, for statistics.

    Raises:
        UserError: the folder is not a shard set, or a shard or its index is missing.
    """
    manifest = Manifest.load(folder)
    bytes_of_member: Counter[str] = Counter()
    places = {split: array("d") for split in SPLITS}
    num_samples = sum(manifest.splits.values())
    with ProgressLine("reading metadata", num_samples, enabled=num_samples > PROGRESS_ABOVE_PAIRS) as progress:
        for entry in manifest.shards:
            try:
                for metadata, place in _metadata_and_places(folder, entry, bytes_of_member):
                    places[entry.split].extend(place)
                    if tally is not None:
                        tally.add(metadata)
                previews = previews_checksum(folder, entry)
            except (ValueError, OSError) as error:
                faults = [fault.sentence for fault in verify_shard(folder, entry, manifest.spectrogram.mel_bands)]
                raise UserError(
                    f"{folder / entry.name}: {(faults or [first_line(error)])[0]}; see all faults with "
                    "'python shards/run.py verify', and copy or build the damaged files again"
                ) from error
            if previews is not None and (folder / PREVIEWS_FOLDER / entry.name).is_file():
                bytes_of_member["previews"] += previews.bytes
            progress.advance(entry.num_samples)
    return {
        "source": manifest.source,
        "splits": manifest.splits,
        "num_samples": num_samples,
        "num_shards": len(manifest.shards),
        "hours_of_sound": manifest.statistics["seconds_of_sound"] / 3600,
        "bytes_a_pair": {member: total / max(1, num_samples) for member, total in bytes_of_member.items()},
        "bytes": sum(entry.bytes for entry in manifest.shards),
        "statistics": manifest.statistics,
        "num_rejected": len(manifest.rejected),
        "rejected": dict(Counter(rejection.reason for rejection in manifest.rejected).most_common()),
        "licence": manifest.licence,
        "build": manifest.build,
        "spectrogram": manifest.spectrogram.to_dict(),
        "rasters": manifest.rasters.to_dict(),
        "warnings": list(manifest.warnings),
        "repeated_images": repeated_images(folder, manifest),
        "extent": extent_of(np.concatenate([_as_places(flat) for flat in places.values()])),
        "test_pairs_near_training": {
            f"within_{metres}_m": count
            for metres, count in count_near(_as_places(places["test"]), _as_places(places["train"])).items()
        },
    }


def _metadata_and_places(
    folder: Path, entry: ShardEntry, bytes_of_member: Counter[str]
) -> Iterator[tuple[dict[str, Any], tuple[float, float]]]:
    """The metadata and places of a tar's samples; adds the sizes of their members.

    Raises:
        ValueError, OSError: the tar or its index is damaged.
    """
    with (folder / entry.name).open("rb") as file:
        for sample in load_index(folder, entry):
            for member, (_, length) in sample.members.items():
                bytes_of_member[member] += length
            content = sum(length for _, length in sample.members.values())
            bytes_of_member["tar headers and padding"] += sample.bytes - content
            metadata = read_metadata(file, sample)
            place = place_of(metadata)
            if place is None:
                raise ValueError(f"sample {sample.key} has no place")
            yield metadata, place


def _as_places(flat: array[float]) -> NDArray[np.float64]:
    """(n, 2) longitude and latitude."""
    return np.array(flat, np.float64).reshape(-1, 2)


def extent_of(places: NDArray[np.float64]) -> dict[str, list[float]]:
    """Lowest and highest longitude and latitude of (n, 2) places in degrees; empty of none."""
    if len(places) == 0:
        return {}
    low, high = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    return {name: [low[axis], high[axis]] for axis, name in enumerate(("longitude", "latitude"))}


def count_near(queries: Places, places: Places, metres: Sequence[int] = NEAR_METRES) -> dict[int, int]:
    """Counts the queries that have a place within each great-circle distance.

    Args:
        queries: (longitude, latitude) of each query in degrees.
        places: (longitude, latitude) of each place in degrees.
        metres: the distances; 0 counts queries at exactly the same place.

    Returns:
        Maps each distance in metres to a number of queries.
    """
    if len(queries) == 0 or len(places) == 0:
        return dict.fromkeys(metres, 0)
    nearest_metres = nearest_distances_metres(np.asarray(queries), np.asarray(places))
    return {limit: int((nearest_metres <= limit + _SAME_PLACE_METRES).sum()) for limit in metres}


def nearest_distances_metres(queries: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distance from each query to its nearest place, exact on a sphere of the Earth's mean radius.

    Args:
        queries: (n, 2) longitude and latitude in degrees.
        places: (m, 2) likewise, m >= 1.

    Returns:
        (n,) metres.
    """
    from sklearn.neighbors import BallTree

    tree = BallTree(np.radians(places[:, ::-1]), metric="haversine")
    radians, _ = tree.query(np.radians(queries[:, ::-1]), k=1)
    return np.asarray(radians[:, 0] * EARTH_RADIUS_KM * 1000, dtype=np.float64)


def print_description(folder: Path, description: dict[str, Any]) -> None:
    """Prints the result of `describe_shards`."""
    build, statistics, spectrogram = description["build"], description["statistics"], description["spectrogram"]
    splits = ", ".join(f"{split} {count:,}" for split, count in description["splits"].items())
    print(f"{folder}: source {description['source']}, {description['num_samples']:,} pairs in "
          f"{description['num_shards']} shards, {description['bytes'] / 1e6:,.1f} MB")  # fmt: skip
    if description["licence"]:
        print(f"licence      {description['licence']}")
    print(f"splits       {splits}; {describe_split(build)}")
    hours = f"{description['hours_of_sound']:,.2f} hours" if statistics["seconds_of_sound"] else "length unknown"
    print(f"sound        {hours}; {describe_sound(statistics)}")
    parts = ", ".join(f"{member} {size:,.0f}" for member, size in description["bytes_a_pair"].items())
    print(f"bytes/pair   {sum(description['bytes_a_pair'].values()):,.0f}: {parts}")
    scale = spectrogram["scale"]
    steps = {name: "not published" if value is None else value for name, value in spectrogram.items()}
    print(f"spectrogram  sample_rate_hz {steps['sample_rate_hz']}, window_samples {steps['window_samples']}, "
          f"hop_samples {steps['hop_samples']}, mel_bands {steps['mel_bands']}; byte 0 is {scale['name']} "
          f"{scale['low']:g}, 255 is {scale['high']:g}; training mean {statistics['spectrogram_mean']:.2f}, "
          f"standard deviation {statistics['spectrogram_std']:.2f} bytes")  # fmt: skip
    print(f"rasters      {RasterSettings.from_dict(description['rasters']).learned.describe()}")
    reasons = ", ".join(f"{reason} {count}" for reason, count in description["rejected"].items())
    print(f"rejected     {description['num_rejected']}{': ' + reasons if reasons else ''}")
    print(f"same images  {describe_repeated(description['repeated_images'])}")
    ranges = [f"{name} {low:.4g}° to {high:.4g}°" for name, (low, high) in description["extent"].items()]
    print(f"extent       {', '.join(ranges) or 'no places'}")
    near = description["test_pairs_near_training"]
    counts = ", ".join(f"{name.split('_')[1]} m: {count:,}" for name, count in near.items())
    print(f"test pairs near a training pair, of {description['splits'].get('test', 0):,}: {counts}")
    for words in description["warnings"]:
        print(f"warning      {words}")


def describe_sound(statistics: dict[str, Any]) -> str:
    """Counts of recordings that are not as usual, from the manifest's `statistics`."""
    counts = [
        f"{statistics.get('silent', 0)} silent",
        f"{statistics.get('repeated_to_length', 0)} repeated to length",
        f"{statistics.get('shortened', 0)} shortened",
    ]
    words = {
        "clipped": "clipped at full scale",
        "opposite_phase": "with channels of opposite phase (the louder one is used)",
        "one_of_many_channels": "of 4 or more channels (one is used: --channels)",
        "integer_scale": "on the scale of integers (divided to a full scale of ±1)",
    }
    counts += [f"{count} {phrase}" for name, phrase in words.items() if (count := statistics.get(name, 0))]
    return ", ".join(counts)


def small_splits(counts: Mapping[str, int]) -> list[str]:
    """A warning for each of val and test that has fewer than 30 pairs."""
    return [
        f"{split} has {count} pair{'s' * (count != 1)}; figures from fewer than {FEW_PAIRS} depend mostly on chance"
        for split in HELD_OUT
        if (count := counts.get(split, 0)) < FEW_PAIRS
    ]


def describe_split(build: dict[str, Any]) -> str:
    """A phrase that describes the split, from the manifest's `build`."""
    seed = f"seed {build.get('split_seed')}"
    words = {
        "key": "by the last digit of the key (7 val, 2 and 5 test)",
        "cell": f"by cells of {build.get('cell_km')} km, {seed}",
        "column": f"by column {build.get('column')}, {seed}",
        "image": f"by image, {seed}",
        "file": "by a file of keys",
        "source": "the corpus's own",
        "random": f"at random, {seed}",
    }.get(str(build.get("split_by")), "as its manifest does not say")
    return f"{words}, exact shares" if build.get("split_shares") == "exact" else words
