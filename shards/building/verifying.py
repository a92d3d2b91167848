"""Verifies a shard set against its manifest: counts, checksums, indexes, and a few decoded samples per shard."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shards.building.planning import usable_cpus
from shards.checksums import file_checksum
from shards.errors import RejectedPair, UserError, first_line
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, wrong_totals
from shards.progress import ProgressLine
from shards.records import shown
from shards.schema import (
    IMAGE_MEMBER,
    METADATA_MEMBER,
    MIN_FRAMES,
    PREVIEW_MEMBER,
    PREVIEWS_FOLDER,
    SPECTROGRAM_MEMBER,
    place_of,
)
from shards.streaming.entries import SampleEntry, read_frames, read_member, read_metadata
from shards.streaming.index import entries_in_tar, load_index, previews_checksum

_MEMBERS = {IMAGE_MEMBER, METADATA_MEMBER, SPECTROGRAM_MEMBER}

Entries = tuple[SampleEntry, ...]


@dataclass(frozen=True)
class Fault:
    """One fault of a shard, or of `manifest.json` itself, as a sentence."""

    shard: str
    sentence: str


@dataclass(frozen=True)
class Verification:
    """The result of `verify_shards`.

    Attributes:
        manifest: the manifest of the set.
        faults: empty if the set is intact.
        num_previews: number of listening clips found.
    """

    manifest: Manifest
    faults: tuple[Fault, ...]
    num_previews: int


def verify_shards(folder: Path, *, show_progress: bool = True) -> Verification:
    """Reads every byte of a shard set and compares it with the manifest and the indexes.

    Raises:
        UserError: the folder is not a shard set.
    """
    manifest = Manifest.load(folder)
    faults = [Fault(MANIFEST_NAME, sentence) for sentence in wrong_totals(folder)]
    shard_of_key: dict[str, str] = {}
    num_previews = 0
    with (
        ThreadPoolExecutor(usable_cpus()) as pool,
        ProgressLine("verifying shards", len(manifest.shards), enabled=show_progress) as progress,
    ):
        for entry, (samples, found) in zip(
            manifest.shards,
            pool.map(lambda entry: _verify_shard(folder, entry, manifest.spectrogram.mel_bands), manifest.shards),
            strict=True,
        ):
            faults += found
            for sample in samples or ():
                if sample.key in shard_of_key:
                    faults.append(Fault(entry.name, f"key {sample.key} is also in {shard_of_key[sample.key]}"))
                shard_of_key.setdefault(sample.key, entry.name)
            clips, found = _verify_previews(folder, entry, samples)
            num_previews += clips
            faults += found
            progress.advance()
    faults += _unknown_tars(folder, manifest)
    return Verification(manifest, tuple(faults), num_previews)


def print_verification(folder: Path, verification: Verification) -> None:
    """Prints a line for each fault, then the number of intact shards."""
    faulty = {fault.shard for fault in verification.faults}
    for fault in verification.faults:
        print(f"{fault.shard}: {fault.sentence}")
    manifest = verification.manifest
    fine = [entry for entry in manifest.shards if entry.name not in faulty]
    num_samples = sum(entry.num_samples for entry in fine)
    clips = f", {verification.num_previews:,} listening clips" if verification.num_previews else ""
    print(f"{folder}: {len(fine)} of {len(manifest.shards)} shards are intact, with {num_samples:,} samples{clips}")
    if verification.faults:
        print(f"{len(verification.faults)} faults; copy the faulty files again from an intact set, or rebuild")


def verify_shard(folder: Path, entry: ShardEntry, mel_bands: int) -> list[Fault]:
    """The faults of a tar and its index, without those of its listening clips."""
    return _verify_shard(folder, entry, mel_bands)[1]


def _verify_shard(folder: Path, entry: ShardEntry, mel_bands: int) -> tuple[Entries | None, list[Fault]]:
    """Checks a tar and its index; returns the samples found in the tar itself, None if it can't be read."""
    path = folder / entry.name
    faults: list[Fault] = []

    def fault(sentence: str) -> None:
        faults.append(Fault(entry.name, sentence))

    try:
        checksum = file_checksum(path)
    except FileNotFoundError:
        return None, [Fault(entry.name, "the file is missing")]
    except OSError as error:
        return None, [Fault(entry.name, f"can't be read: {error.strerror}")]
    if checksum.bytes != entry.bytes:
        fault(f"has {checksum.bytes:,} bytes, the manifest says {entry.bytes:,}")
    elif checksum.sha256 != entry.sha256:
        fault("its checksum differs from the manifest: the file was changed or damaged")
    try:
        in_tar = entries_in_tar(path)
    except UserError as error:
        fault(str(error))
        return None, faults
    if len(in_tar) != entry.num_samples:
        fault(f"holds {len(in_tar)} samples, the manifest says {entry.num_samples}")
    try:
        if tuple(load_index(folder, entry)) != in_tar:
            fault("its index does not match the tar")
    except UserError as error:
        fault(str(error))
    faults += _decode_some(path, in_tar, mel_bands)
    return in_tar, faults


def _decode_some(path: Path, samples: Entries, mel_bands: int) -> Iterator[Fault]:
    """Decodes the first, middle and last sample of a tar."""
    with path.open("rb") as file:
        for sample in (samples[number] for number in _spread(len(samples))):
            try:
                _decode_sample(file, sample, mel_bands)
            except (ValueError, RejectedPair, OSError) as error:
                yield Fault(path.name, f"sample {sample.key} can't be decoded: {first_line(error)}")


def _spread(count: int) -> list[int]:
    return sorted({0, count // 2, count - 1}) if count else []


def _decode_sample(file: io.BufferedReader, sample: SampleEntry, mel_bands: int) -> None:
    from shards.decoding.imagery import decode_jpeg

    if set(sample.members) != _MEMBERS:
        raise ValueError(f"its members are {', '.join(sample.members)}, not {', '.join(sorted(_MEMBERS))}")
    decode_jpeg(read_member(file, sample, IMAGE_MEMBER))
    if sample.num_frames < MIN_FRAMES:
        raise ValueError(f"its spectrogram has {sample.num_frames} frames, fewer than {MIN_FRAMES}")
    read_frames(file, sample, 0, sample.num_frames, mel_bands)
    metadata = read_metadata(file, sample)
    if metadata.get("key") != sample.key:
        raise ValueError(f"its JSON belongs to {shown(metadata.get('key'))}")
    if place_of(metadata) is None:
        place = ", ".join(shown(metadata.get(name)) for name in ("longitude", "latitude"))
        raise ValueError(
            f"its longitude and latitude must be numbers within [-180, 180] and [-90, 90], they are {place}"
        )


def _verify_previews(folder: Path, entry: ShardEntry, samples: Entries | None) -> tuple[int, list[Fault]]:
    """Checks the listening clips of a shard and counts them; a set may have none, but not only some of its clips."""
    import soundfile

    name = f"{PREVIEWS_FOLDER}/{entry.name}"
    path = folder / name
    if samples is None or not (folder / PREVIEWS_FOLDER).is_dir():
        return 0, []
    try:
        stated = previews_checksum(folder, entry)
    except UserError:
        stated = None
    if stated is None:
        return 0, []
    try:
        faults = [] if file_checksum(path) == stated else [Fault(name, "its checksum differs from the one stated")]
        clips = entries_in_tar(path)
    except FileNotFoundError:
        return 0, [Fault(name, "the file is missing")]
    except UserError as error:
        return 0, [Fault(name, str(error))]
    foreign = {clip.key for clip in clips} - {sample.key for sample in samples}
    faults += [Fault(name, f"clip {key} belongs to no sample of {entry.name}") for key in sorted(foreign)]
    with path.open("rb") as file:
        for clip in [clips[number] for number in _spread(len(clips))[:1]]:
            try:
                soundfile.read(io.BytesIO(read_member(file, clip, PREVIEW_MEMBER)))
            except (soundfile.LibsndfileError, UserError) as error:
                faults.append(Fault(name, f"clip {clip.key} can't be decoded: {error}"))
    return len(clips), faults


def _unknown_tars(folder: Path, manifest: Manifest) -> list[Fault]:
    known = {entry.name for entry in manifest.shards}
    names = sorted(name for name in os.listdir(folder) if name.endswith(".tar") and name not in known)
    return [Fault(name, "is not in the manifest") for name in names]
