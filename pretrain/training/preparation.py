"""Preparation of a run: demo shards if they are missing, and the run folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain import distributed
from pretrain.settings.pretraining import DEMO_SHARDS, Config
from pretrain.settings.training import RunSettings
from shards.errors import UserError
from shards.locks import lock_folder
from shards.loudness import note
from shards.manifest import MANIFEST_NAME

DEMO_WORLD = Path("data/demo-world")


def build_missing_demo_shards(config: Config) -> None:
    """Builds the demo world and its shards on the first process if the demo's shard folder is missing."""
    if config.shards != DEMO_SHARDS:
        return
    if distributed.is_first() and not (Path(config.shards) / MANIFEST_NAME).is_file():
        note(f"no shards in {config.shards} yet: building the demo world")
        command = Path(__file__).resolve().parents[2] / "shards" / "run.py"
        # For all, though this process is one of several that were launched.
        options = ["build", "--source", "demo", "--root", str(DEMO_WORLD), "--out", str(config.shards), "--part", "all"]
        if subprocess.run([sys.executable, str(command), *options], check=False).returncode:
            raise UserError(f"the demo shards could not be built in {config.shards}; see above for the reason")
    distributed.barrier()


@contextmanager
def open_run_folder(settings: RunSettings) -> Iterator[None]:
    """Creates the run folder and locks it against other runs, on the first process.

    Raises:
        UserError: the folder can't be written, or another process trains in it now.
    """
    if not distributed.is_first():
        distributed.barrier()
        yield
        return
    with lock_folder(settings.out, "another process trains in it"):
        distributed.barrier()
        yield
