"""The rival of pre-training on few pairs: a plain script without Earshot's training, as one would write it in an hour.

    python tests/benchmarks/plain_script.py SHARDS --seconds S --seed N

Two ResNet-18s from scratch, 96-pixel crops with flips of images at 128 pixels, 64 × 64 crops of spectrograms (two bands
and two frames averaged), symmetric InfoNCE at a temperature of 0.1, AdamW with a cosine over the time. All pairs are
decoded into memory once, which does not count. Prints ranks of the test split as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import resource
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import webdataset
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

STORED, SIDE, FRAMES, BATCH, CROPS = 128, 96, 64, 64, 10
LEARNING_RATE, WEIGHT_DECAY, TEMPERATURE, WARMUP = 1e-3, 1e-2, 0.1, 0.03
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def read(shards: Path, split: str) -> tuple[Tensor, list[Tensor]]:
    """All images, (n, 3, 128, 128) uint8, and all spectrograms, (64, t)."""
    images, sounds = [], []
    for sample in webdataset.WebDataset(
        [str(path) for path in sorted(shards.glob(f"{split}-*.tar"))], shardshuffle=False
    ):
        image = cv2.imdecode(np.frombuffer(sample["jpg"], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        images.append(cv2.resize(image, (STORED, STORED), interpolation=cv2.INTER_AREA))
        sound = np.load(io.BytesIO(sample["spectrogram.npy"])).astype(np.float32)
        sound = np.tile(sound, (1, -(-2 * FRAMES // sound.shape[1])))
        sound = sound[:, : sound.shape[1] // 2 * 2].reshape(64, 2, -1, 2).mean((1, 3))
        sounds.append(torch.from_numpy((sound - 127.5) / 50))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), sounds


def network(channels: int) -> nn.Module:
    """A ResNet-18 with 128 outputs."""
    model = resnet18(num_classes=128)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def embed(model: nn.Module, inputs: Tensor) -> Tensor:
    """Embeddings on the unit sphere."""
    return F.normalize(model(inputs.contiguous(memory_format=torch.channels_last)), dim=1)


def batch(images: Tensor, sounds: list[Tensor], chosen: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random crops and flips of some images, and random crops of their sounds."""
    views, crops = [], []
    for i in chosen:
        top, left = rng.integers(0, STORED - SIDE + 1, 2)
        view = images[i, :, top : top + SIDE, left : left + SIDE]
        views.append(view.flip([axis for axis in (1, 2) if rng.random() < 0.5]))
        start = rng.integers(0, sounds[i].shape[1] - FRAMES + 1)
        crops.append(sounds[i][:, start : start + FRAMES])
    return (torch.stack(views).float() / 255 - MEAN) / STD, torch.stack(crops)[:, None]


def train(images: Tensor, sounds: list[Tensor], seconds: float, seed: int) -> tuple[nn.Module, nn.Module, float]:
    """Both networks, and the epochs that the time sufficed for."""
    see, hear = network(3), network(1)
    optimizer = torch.optim.AdamW([*see.parameters(), *hear.parameters()], weight_decay=WEIGHT_DECAY)
    rng, started, seen, size = np.random.default_rng(seed), time.monotonic(), 0, min(BATCH, len(sounds))
    while (share := (time.monotonic() - started) / seconds) < 1:
        order = rng.permutation(len(sounds)).tolist()
        for first in range(0, len(order) - size + 1, size):
            rate = min(1, share / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1, share)))
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
            views, crops = batch(images, sounds, order[first : first + size], rng)
            similarity = embed(see, views) @ embed(hear, crops).T / TEMPERATURE
            target = torch.arange(size)
            loss = (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen, share = seen + size, (time.monotonic() - started) / seconds
            if share >= 1:
                break
    return see.eval(), hear.eval(), seen / len(sounds)


@torch.inference_mode()
def rank(see: nn.Module, hear: nn.Module, images: Tensor, sounds: list[Tensor]) -> tuple[NDArray, NDArray]:
    """Ranks of the test pairs by distance, image → sound and sound → image; the mean of up to ten crops of a sound."""
    margin = (STORED - SIDE) // 2
    views = (images[:, :, margin : margin + SIDE, margin : margin + SIDE].float() / 255 - MEAN) / STD
    found = []
    for sound in sounds:
        starts = sorted({round(start) for start in np.linspace(0, sound.shape[1] - FRAMES, CROPS)})
        crops = torch.stack([sound[:, start : start + FRAMES] for start in starts])[:, None]
        found.append(embed(hear, crops).mean(0))
    distances = torch.cdist(embed(see, views), torch.stack(found))
    own = distances.diag()
    return tuple((1 + (d < own[:, None]).sum(1)).numpy() for d in (distances, distances.T))  # type: ignore[return-value]


def main() -> None:
    """Trains, ranks and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    see, hear, epochs = train(*read(options.shards, "train"), options.seconds, options.seed)
    there, back = rank(see, hear, *read(options.shards, "test"))
    k = -(-len(there) // 10)
    figures = {
        "image_to_sound": {"median_rank": float(np.median(there)), "recall_at_10_percent": float((there <= k).mean())},
        "sound_to_image": {"median_rank": float(np.median(back)), "recall_at_10_percent": float((back <= k).mean())},
        "epochs": epochs,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
