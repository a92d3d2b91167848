"""What stands before the first step: demo shards where they are missing, the precision, the run folder."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import torch

from pretrain import distributed
from pretrain.config import Config, save_config
from pretrain.presets import DEMO
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME

DEMO_WORLD = Path("data/demo-world")


def build_missing_demo_shards(config: Config) -> None:
    """Makes the demo world and its shards, on the first process, if the demo's own shard folder is missing."""
    if config.shards != DEMO.shards or (config.shards / MANIFEST_NAME).is_file():
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


def open_run_folder(config: Config) -> None:
    """Makes the run folder and writes its settings, on the first process."""
    if distributed.is_first():
        config.out.mkdir(parents=True, exist_ok=True)
        save_config(config, config.out / "config.yaml")
    distributed.barrier()
