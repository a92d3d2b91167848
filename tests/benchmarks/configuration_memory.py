"""What a process holds in memory under each launch configuration: a table, computed from the presets' own towers.

    python tests/benchmarks/configuration_memory.py [--preset soundingearth-resnet50] [--per-process 64]

Weights, gradients and Adam's two moments are counted, activations are measured: the bytes that autograd keeps for the
backward pass of one pair, under bf16 autocast. What the CUDA context, cuDNN's workspaces, buckets of the collectives
and the allocator take comes on top.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.presets import PRESETS
from pretrain.settings.pretraining import Config

FLOAT = 4
PROCESSES = (1, 4, 8, 64)
MB = 1e6


def towers_of(config: Config) -> TwoTower:
    """The towers of a preset, untrained."""
    return TwoTower(
        TwoTowerConfig(
            image_encoder=config.model.image_encoder,
            sound_encoder=config.model.sound_encoder,
            embedding_dim=config.model.embedding_dim,
            norm="batch",
            image_size=config.data.image_size,
            num_frames=config.data.num_frames,
            sound_pooling=config.model.sound_pooling,
        )
    )


def saved_bytes(towers: TwoTower, pairs: int) -> int:
    """Bytes of distinct storages that autograd keeps for the backward pass of `pairs` pairs, weights left out."""
    own = {value.untyped_storage().data_ptr() for value in (*towers.parameters(), *towers.buffers())}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    size, frames = towers.config.image_size, towers.config.num_frames
    images = torch.zeros(pairs, 3, size, size, dtype=torch.uint8)
    sounds = torch.zeros(pairs, 1, 128, frames, dtype=torch.uint8)
    held = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value), torch.autocast("cpu", torch.bfloat16):
        held = [towers.encode_image(images), towers.encode_sound(sounds)]
    assert len(held) == 2
    return sum(kept.values())


def state_bytes(weights: int, processes: int) -> dict[str, float]:
    """Bytes a process holds of weights, gradients and Adam's state, by configuration.

    ZeRO (Rajbhandari et al., SC 2020) with float32 weights: each stage keeps a float32 copy of its own part beside
    what it shares, and with offloading that copy and the moments lie in the machine's memory.
    """
    whole, part = FLOAT * weights, FLOAT * weights / processes
    return {
        "data parallel": whole + whole + 2 * whole,
        "ZeRO-1": whole + whole + 3 * part,
        "ZeRO-2": whole + part + 3 * part,
        "ZeRO-3": part + part + 3 * part,
        "ZeRO-2, offloaded": whole + part,
        "ZeRO-3, offloaded": part + part,
    }


def main() -> None:
    """Prints the table of one preset, and writes it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="soundingearth-resnet50")
    parser.add_argument("--per-process", type=int, default=64, help="pairs that a process embeds at once")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    towers = towers_of(PRESETS[options.preset]).train()
    weights = sum(parameter.numel() for parameter in towers.parameters())
    # The difference of two sizes leaves out what does not grow with the batch.
    a_pair = (saved_bytes(towers, 6) - saved_bytes(towers, 2)) / 4
    activations = a_pair * options.per_process
    print(f"{options.preset}: {weights / 1e6:.1f} million weights, {a_pair / MB:.1f} MB of activations a pair in bf16,")
    print(f"{activations / MB:,.0f} MB for {options.per_process} pairs a process, to which a process adds, in MB:\n")
    print("| weights, gradients, Adam | " + " | ".join(f"{n} GPU{'s' * (n > 1)}" for n in PROCESSES) + " |")
    print("|---|" + "---:|" * len(PROCESSES))
    tables = {processes: state_bytes(weights, processes) for processes in PROCESSES}
    for name in tables[1]:
        print(f"| {name} | " + " | ".join(f"{tables[processes][name] / MB:,.0f}" for processes in PROCESSES) + " |")
    if options.json:
        record = {"preset": options.preset, "weights": weights, "activation_bytes_a_pair": a_pair, "state": tables}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
