"""The demo corpus: small generated worlds, written to disk once and then read like anyone's recordings."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.sources.recordings import RecordingsSource


class DemoSource(RecordingsSource):
    """A generated corpus in the layout of `RecordingsSource`."""

    default_root = Path("data/demo-world")

    def prepare(self, num_workers: int) -> None:
        """Generates the corpus in its root, or finds it there."""
        from shards.demo_world.corpus import generate_demo_corpus

        root = self.options.root
        try:
            generate_demo_corpus(root, num_places=self.options.places, seed=self.options.seed, num_workers=num_workers)
        except OSError as error:
            raise UserError(
                f"can't write the demo corpus to --root {root}: {error.strerror or error}; what is written is kept: "
                "make room there and start the same command again, or give another --root"
            ) from error
        except (BrokenProcessPool, MemoryError) as error:
            raise UserError(
                f"the demo corpus for --root {root} could not be generated: the memory ran out, or a worker process "
                "was killed; what is written is kept: start the command again with fewer --workers"
            ) from error

    def build_options(self) -> dict[str, Any]:
        """Those of recordings, and the world's."""
        return {**super().build_options(), "places": self.options.places, "seed": self.options.seed}
