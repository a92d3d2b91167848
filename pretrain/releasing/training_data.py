"""What a run learned from, in figures: its pairs, how they were split, and the licences of its recordings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pretrain.model_config import TwoTowerConfig
from shards.errors import UserError
from shards.manifest import Manifest
from shards.progress import ProgressLine
from shards.schema import TRAIN_SPLIT, SpectrogramSettings
from shards.streaming.fetching import local_folder
from shards.streaming.reading import ShardSet


@dataclass(frozen=True)
class Licences:
    """Licences as the training samples' JSON states them.

    Attributes:
        counts: samples of each, the most frequent first.
        num_without: samples that state none.
    """

    counts: dict[str, int]
    num_without: int

    @property
    def num_samples(self) -> int:
        """Training samples."""
        return sum(self.counts.values()) + self.num_without


def outline(manifest: Manifest) -> dict[str, Any]:
    """What a run's `summary.json` keeps of its shard set, so that it is known when the set has gone elsewhere."""
    return {
        "source": manifest.source,
        "pairs": manifest.splits,
        "split_by": manifest.build.get("split_by", "unknown"),
        "seconds_of_sound": manifest.statistics.get("seconds_of_sound", 0.0),
        "num_rejected": len(manifest.rejected),
    }


def open_if_at_hand(location: str, model: TwoTowerConfig) -> ShardSet:
    """The shard set that a model was trained on, if it lies in a folder of this machine.

    Args:
        location: where it is said to be.
        model: of the weights; its spectrograms and their statistics are the set's.

    Raises:
        UserError: it is not available, or is another set.
    """
    folder = local_folder(location)
    if folder is None:
        raise UserError(f"the shard set is at {location}; give a copy in a folder by --shards")
    shard_set = ShardSet.open(folder)
    statistics = shard_set.manifest.statistics
    ours: tuple[SpectrogramSettings, float, float] = (
        model.spectrogram,
        model.spectrogram_mean,
        model.spectrogram_std,
    )
    theirs = (shard_set.manifest.spectrogram, statistics["spectrogram_mean"], statistics["spectrogram_std"])
    if ours != theirs:
        raise UserError(
            f"the shard set in {folder} is not the one that the weights learned from: its spectrograms have another "
            "mean, deviation or settings; give the right one by --shards"
        )
    return shard_set


def count_licences(shard_set: ShardSet) -> Licences:
    """Reads every training sample's JSON.

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
