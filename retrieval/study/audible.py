"""The pairs of a split with listening clips: their locations, images, clips and credits."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pretrain.training.embedding import PairEmbeddings
from retrieval.embedding import EmbeddedSplit
from retrieval.exhibits import picture
from retrieval.pair_metadata import link_of, text_of
from retrieval.study.folder import Credit
from shards.building.splitting import EARTH_RADIUS_KM
from shards.reporting.licence_names import licence_name
from shards.schema import PREVIEWS_FOLDER, place_of
from shards.streaming.entries import SampleEntry
from shards.streaming.reading import ShardSet, StoredSample

PICTURE_PIXELS = 640
SAME_PLACE_KM = 0.25
"""Sounds recorded closer than this to an image's centre count as from the same place."""


def audible_numbers(shard_set: ShardSet, split: str) -> list[int]:
    """Numbers of the pairs of a split that have a listening clip."""
    return [number for number, sample in enumerate(shard_set.samples(split)) if _has_clip(sample)]


def mean_clip_bytes(shard_set: ShardSet, split: str, numbers: list[int]) -> float:
    """Mean size of the listening clips of these pairs."""
    entries = [_clips(sample)[sample.key] for sample in (shard_set.sample(split, number) for number in numbers)]
    return sum(size for entry in entries for _, size in entry.members.values()) / len(entries)


@dataclass
class AudiblePairs:
    """The pairs from which a study is drawn; the attributes have the same order.

    Attributes:
        samples: the stored pairs, each with a listening clip.
        embeddings: their embeddings.
        metadata: their metadata.
    """

    samples: list[StoredSample]
    embeddings: PairEmbeddings
    metadata: list[dict[str, Any]]
    _checksums: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, shard_set: ShardSet, split: str, numbers: list[int], embedded: EmbeddedSplit) -> AudiblePairs:
        """The pairs with these numbers in the split."""
        every = embedded.embeddings
        return cls(
            [shard_set.sample(split, number) for number in numbers],
            PairEmbeddings([every.keys[number] for number in numbers], every.image[numbers], every.sound[numbers]),
            [embedded.metadata[number] for number in numbers],
        )

    def is_same_place(self, image: int, sound: int) -> bool:
        """Whether the sound is a copy of the image's own sound, or was recorded within 250 m of the image."""
        distance_km = _distance_km(self.metadata[image], self.metadata[sound])
        return (distance_km is not None and distance_km < SAME_PLACE_KM) or (
            self._checksum(image) == self._checksum(sound)
        )

    def picture(self, number: int) -> bytes:
        """The image's central square, at most 640 pixels wide, as a JPEG without metadata."""
        image = self.samples[number].image()
        return picture(image, min(PICTURE_PIXELS, *image.shape[:2]))

    def clip(self, number: int) -> bytes:
        """The listening clip as MP3."""
        sound = self.samples[number].preview()
        assert sound is not None
        return sound

    def credit(self, number: int) -> Credit:
        """The credits of the pair."""
        title, creator, licence = (text_of(self.metadata[number], name) for name in ("title", "creator", "licence"))
        return Credit(self.samples[number].key, title, creator, licence_name(licence), link_of(licence))

    def _checksum(self, number: int) -> bytes:
        if number not in self._checksums:
            self._checksums[number] = hashlib.sha256(self.clip(number)).digest()
        return self._checksums[number]


def _has_clip(sample: StoredSample) -> bool:
    return sample.key in _clips(sample)


def _clips(sample: StoredSample) -> dict[str, SampleEntry]:
    """The clips of the sample's shard, by key."""
    return sample.files.clips(sample.tar_path.parent / PREVIEWS_FOLDER / sample.tar_path.name)


def _distance_km(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Great-circle distance between two places; None if one is unknown."""
    place, other_place = place_of(one), place_of(other)
    if place is None or other_place is None:
        return None
    (longitude, latitude), (other_longitude, other_latitude) = np.radians([place, other_place])
    half_chord_squared = (
        math.sin((other_latitude - latitude) / 2) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin((other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, half_chord_squared)))
