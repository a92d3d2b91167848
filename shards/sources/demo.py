"""The demo corpus: a small generated world, written to disk once and then read like any recordings."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from shards.errors import UserError, disk_remedy
from shards.sources.recordings import RecordingsSource


class DemoSource(RecordingsSource):
    """A generated corpus in the layout of `RecordingsSource`."""

    default_root = Path("data/demo-world")

    def prepare(self, num_workers: int) -> None:
        """Generates the corpus in its root unless it exists there."""
        from shards.demo_world.corpus import generate_demo_corpus

        root = self.options.root
        try:
            generate_demo_corpus(root, num_places=self.options.places, seed=self.options.seed, num_workers=num_workers)
        except OSError as error:
            raise UserError(
                f"can't write the demo corpus to --root {root}: {error.strerror or error}; written files are kept: "
                f"{disk_remedy(error)}, and rerun the same command, or give another --root"
            ) from error
        except (BrokenProcessPool, MemoryError) as error:
            raise UserError(
                f"the demo corpus for --root {root} could not be generated: out of memory, or a worker process was "
                "killed; written files are kept: rerun the command with fewer --workers"
            ) from error

    def build_options(self) -> dict[str, Any]:
        """The options of recordings, and those of the generated world."""
        return {**super().build_options(), "places": self.options.places, "seed": self.options.seed}
