"""SyncBatchNorm of two processes on one GPU against batch norm of the whole batch in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gpu.closeness import in_full_float32, require_close
from gpu.items import Place
from torch import Tensor, nn

from pretrain.distributed import gather_with_gradient, leave, rank

PAIRS, SIDE = 16, 64
TOLERANCE = 1e-3


def two_processes_equal_one(place: Place) -> dict[str, Any]:
    """Features, gradients and running statistics of a ResNet-18 whose norms are synchronised.

    Both processes use one GPU, which NCCL refuses and gloo allows; the arithmetic of the layer is the same.

    Raises:
        AssertionError: one differs.
    """
    in_full_float32()
    folder = place.folder / "synced-norm"
    folder.mkdir()
    mp.spawn(_one_half, args=(str(folder),), nprocs=2)
    halves = [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(2)]
    whole = _state(_encoder(), _images())
    worst = {}
    for name, reference in whole.items():
        for number, half in enumerate(halves):
            worst[name] = require_close(f"{name} on process {number}", half[name], reference, TOLERANCE)
    return worst


def _encoder() -> nn.Module:
    from pretrain.encoders.building import build_encoder

    torch.manual_seed(0)
    return build_encoder("resnet18", channels=3, norm="sync", input_size=(SIDE, SIDE)).cuda()


def _images() -> Tensor:
    return torch.randn(PAIRS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).cuda()


def _state(encoder: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What the encoder gives for this process's images, the gradient over all processes, and its statistics."""
    features = gather_with_gradient(encoder(images))
    gradients = torch.autograd.grad(features.square().mean(), list(encoder.parameters()))
    # Every process has the gradient of its own images alone; data-parallel training averages them.
    flat = gather_with_gradient(torch.cat([gradient.flatten() for gradient in gradients])[None]).mean(0)
    buffers = [value.flatten() for name, value in encoder.named_buffers() if "running" in name]
    return {"features": features.detach().cpu(), "gradient": flat.cpu(), "statistics": torch.cat(buffers).cpu()}


def _one_half(process: int, folder: str) -> None:
    from pretrain.encoders.building import synced

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=process, world_size=2)
    in_full_float32()
    encoder = synced(_encoder())
    assert any(isinstance(module, nn.SyncBatchNorm) for module in encoder.modules())
    half = _images().chunk(2)[rank()]
    torch.save(_state(encoder, half), Path(folder) / f"{process}.pt")
    leave()
