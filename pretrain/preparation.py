"""What stands before the first step: demo shards where they are missing, the precision, the run folder."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pretrain import distributed
from pretrain.config import Config
from pretrain.presets import DEMO
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME

DEMO_WORLD = Path("data/demo-world")


def build_missing_demo_shards(config: Config) -> None:
    """Makes the demo world and its shards, on the first process, if the demo's own shard folder is missing."""
    if config.shards != DEMO.shards or (Path(config.shards) / MANIFEST_NAME).is_file():
        return
    if distributed.is_first():
        print(f"no shards in {config.shards} yet: building the demo world", file=sys.stderr, flush=True)
        command = Path(__file__).resolve().parents[1] / "shards" / "run.py"
        options = ["build", "--source", "demo", "--root", str(DEMO_WORLD), "--out", str(config.shards)]
        if subprocess.run([sys.executable, str(command), *options], check=False).returncode:
            raise UserError(f"the demo shards could not be built in {config.shards}; see above for the reason")
    distributed.barrier()


def resolve_precision(config: Config) -> Config:
    """Settles "auto": bf16 where the device computes in it, fp32 elsewhere."""
    if config.precision != "auto":
        return config
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return dataclasses.replace(config, precision="bf16" if has_bf16 else "fp32")


@contextmanager
def open_run_folder(config: Config) -> Iterator[None]:
    """Makes the run folder and keeps other runs out of it, on the first process.

    Raises:
        UserError: the folder can't be written, or another process trains in it now.
    """
    if not distributed.is_first():
        distributed.barrier()
        yield
        return
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        lock = os.open(config.out, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"out {config.out} is in use: another process trains in it; wait for it or stop it") from error
    except OSError as error:
        raise UserError(f"out {config.out} can't be written: {error.strerror}; name another --out") from error
    distributed.barrier()
    try:
        yield
    finally:
        os.close(lock)
