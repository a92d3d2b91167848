"""A run's training data in figures: its pairs, how they were split, and the licences of its recordings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pretrain.model_config import TwoTowerConfig
from pretrain.weights.towers import sound_normalisation
from shards.errors import UserError
from shards.manifest import Manifest
from shards.progress import ProgressLine
from shards.schema import TRAIN_SPLIT, SpectrogramSettings
from shards.streaming.fetching import local_folder
from shards.streaming.reading import ShardSet


@dataclass(frozen=True)
class Licences:
    """Licences as stated in the training samples' JSON.

    Attributes:
        counts: number of samples by licence, the most frequent first.
        num_without: number of samples that state none.
    """

    counts: dict[str, int]
    num_without: int

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        return sum(self.counts.values()) + self.num_without


def outline(manifest: Manifest) -> dict[str, Any]:
    """Returns what a run's `summary.json` records about its shard set, in case the set is moved later."""
    return {
        "source": manifest.source,
        "pairs": manifest.splits,
        "split_by": manifest.build.get("split_by", "unknown"),
        "seconds_of_sound": manifest.statistics.get("seconds_of_sound", 0.0),
        "num_rejected": len(manifest.rejected),
        "warnings": list(manifest.warnings),
        **({"licence": manifest.licence} if manifest.licence else {}),
    }


def open_if_at_hand(location: str, model: TwoTowerConfig) -> ShardSet:
    """Opens the shard set that a model was trained on, if it is in a local folder.

    Args:
        location: where the set is recorded to be.
        model: config of the weights; its spectrogram settings and statistics must equal the set's.

    Raises:
        UserError: the set is not available, or it is another set.
    """
    folder = local_folder(location)
    if folder is None:
        raise UserError(f"the shard set is at {location}; give a local copy with --shards")
    shard_set = ShardSet.open(folder)
    ours: tuple[SpectrogramSettings, float, float] = (
        model.spectrogram,
        model.spectrogram_mean,
        model.spectrogram_std,
    )
    manifest = shard_set.manifest
    theirs = (manifest.spectrogram, *sound_normalisation(model.sound_encoder, manifest, str(folder)))
    if ours != theirs:
        raise UserError(
            f"the shard set in {folder} is not the one that the weights were trained on: its spectrograms have another "
            "mean, deviation or settings; give the right one with --shards"
        )
    return shard_set


def count_licences(shard_set: ShardSet) -> Licences:
    """Counts the licences stated in the training samples' JSON.

    Raises:
        UserError: a shard is missing or can't be read.
    """
    shard_set.check_files(TRAIN_SPLIT)
    counts: Counter[str] = Counter()
    with ProgressLine("counting licences", shard_set.num_samples(TRAIN_SPLIT)) as progress:
        for sample in shard_set.samples(TRAIN_SPLIT):
            counts[str(sample.metadata().get("licence") or "").strip()] += 1
            progress.advance()
    num_without = counts.pop("", 0)
    return Licences(dict(counts.most_common()), num_without)
