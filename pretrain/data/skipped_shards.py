"""Which unreadable shards a run skipped, and how many of their pairs were replaced by others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretrain import distributed


class SkippedShards:
    """Counts and reports what `data.skip_bad_shards` did, over all processes.

    Attributes:
        replaced_pairs: pairs since this start whose shard could not be read and that others stood in for, as of the
            last `news`.
    """

    def __init__(self) -> None:
        self.replaced_pairs = 0
        self._replaced_here = 0
        self._met: dict[str, str] = {}
        self._told: set[str] = set()

    def observe(self, batch: Mapping[str, Any]) -> None:
        """Takes note of a batch of `TrainingBatches`."""
        self._replaced_here += batch["num_replaced"]
        self._met |= batch["unreadable_shards"]

    def news(self) -> list[str]:
        """A message for each shard not yet reported; every process must call it at the same step."""
        parts = distributed.gather_objects((self._replaced_here, self._met))
        self.replaced_pairs = sum(replaced for replaced, _ in parts)
        met = {shard: sentence for _, sentences in parts for shard, sentence in sentences.items()}
        sentences = [f"skipped: {met[shard]}" for shard in sorted(met.keys() - self._told)]
        self._told |= met.keys()
        return sentences
