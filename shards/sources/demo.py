"""The demo corpus: small generated worlds, written to disk once and then read like anyone's recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shards.sources.recordings import RecordingsSource


class DemoSource(RecordingsSource):
    """A generated corpus in the layout of `RecordingsSource`."""

    default_root = Path("data/demo-world")

    def prepare(self, num_workers: int) -> None:
        """Generates the corpus in its root, or finds it there."""
        from shards.demo_world.corpus import generate_demo_corpus

        generate_demo_corpus(
            self.options.root, num_places=self.options.places, seed=self.options.seed, num_workers=num_workers
        )

    def build_options(self) -> dict[str, Any]:
        """Those of recordings, and the world's."""
        return {**super().build_options(), "places": self.options.places, "seed": self.options.seed}
