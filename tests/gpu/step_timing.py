"""A training step of a preset's towers alone: pairs a second, share of the measured bf16 peak, longest kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from gpu.clock import WARM_UP_CALLS, peak_mib, seconds_a_call
from gpu.items import Place
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

PEAK_SIDE = 8192
KERNELS = 8


@dataclass(frozen=True)
class StepSize:
    """Of a measured step.

    Attributes:
        preset: whose encoders, loss and optimiser are taken.
        pairs: of the batch; halved until it fits.
        compiled: by torch.compile.
        steps: that are timed.
    """

    preset: str
    pairs: int
    compiled: bool = False
    steps: int = 20


def resnet18(place: Place) -> dict[str, Any]:
    """The step of `soundingearth-resnet18`."""
    return time_step(place, StepSize("soundingearth-resnet18", 256))


def resnet50(place: Place) -> dict[str, Any]:
    """The step of `soundingearth-resnet50`."""
    return time_step(place, StepSize("soundingearth-resnet50", 256))


def convnext(place: Place) -> dict[str, Any]:
    """The step of `best-retrieval`: ConvNeXt-B for images and for long spectrograms."""
    return time_step(place, StepSize("best-retrieval", 32, steps=10))


def resnet18_compiled(place: Place) -> dict[str, Any]:
    """The same, compiled."""
    return time_step(place, StepSize("soundingearth-resnet18", 256, compiled=True))


def resnet50_compiled(place: Place) -> dict[str, Any]:
    """The same, compiled."""
    return time_step(place, StepSize("soundingearth-resnet50", 256, compiled=True))


def convnext_compiled(place: Place) -> dict[str, Any]:
    """The same, compiled."""
    return time_step(place, StepSize("best-retrieval", 32, compiled=True, steps=10))


def time_step(place: Place, size: StepSize) -> dict[str, Any]:
    """The figures of a step, with the largest batch that fits."""
    pairs = size.pairs if place.is_gpu else 2
    while True:
        try:
            return _time_step(place, size, pairs)
        except torch.cuda.OutOfMemoryError:
            if pairs <= 2:
                raise
        pairs //= 2
        torch.cuda.empty_cache()


def _time_step(place: Place, size: StepSize, pairs: int) -> dict[str, Any]:
    steps = size.steps if place.is_gpu else 1
    peak, warm_up = bf16_peak(place), WARM_UP_CALLS if place.is_gpu else 0
    step, embed = training_step(place, size.preset, pairs)
    with FlopCounterMode(display=False) as counter:
        step(embed)
    flops = float(counter.get_total_flops())
    embed_timed = torch.compile(embed) if size.compiled else embed
    memory = peak_mib(lambda: step(embed_timed), place.device)
    seconds = seconds_a_call(lambda: step(embed_timed), steps, place.device, warm_up)
    return {
        "pairs_per_second": pairs / seconds,
        "ms_a_step": 1000 * seconds,
        "batch": pairs,
        "gflop_a_pair": flops / pairs / 1e9,
        "tflop_per_second": flops / seconds / 1e12,
        "peak_tflop_per_second": peak / 1e12,
        "share_of_peak": flops / seconds / peak,
        "step_peak_mib": memory,
        "kernels": longest_kernels(lambda: step(embed_timed)) if place.is_gpu else [],
    }


def bf16_peak(place: Place) -> float:
    """Operations a second of a large matrix product in bf16, measured: what this card reaches at best in practice."""
    side = PEAK_SIDE if place.is_gpu else 128
    a, b = torch.randn(2, side, side, device=place.device, dtype=torch.bfloat16)
    return 2 * side**3 / seconds_a_call(lambda: a @ b, 20, place.device)


def training_step(place: Place, preset: str, pairs: int) -> tuple[Callable[[Any], None], Any]:
    """A step, which takes the function that embeds both sides, and that function: bf16, channels last, uint8 inputs."""
    from pretrain.model import TwoTower
    from pretrain.model_config import TwoTowerConfig
    from pretrain.optimization import build_optimizer
    from pretrain.precision import autocast
    from pretrain.presets import PRESETS

    config: Any = PRESETS[preset]
    loss_of = config.loss.build(config.model.embedding_dim).to(place.device)
    image_size, frames = (config.data.image_size, config.data.num_frames) if place.is_gpu else (32, 32)
    towers = TwoTower(
        TwoTowerConfig(
            image_encoder=config.model.image_encoder,
            sound_encoder=config.model.sound_encoder,
            embedding_dim=config.model.embedding_dim,
            image_size=image_size,
            num_frames=frames,
            on_sphere=loss_of.on_sphere,
        )
    ).to(place.device)
    towers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(torch.nn.ModuleList([towers, loss_of]), config.optimizer)
    images = torch.randint(0, 256, (pairs, 3, image_size, image_size), dtype=torch.uint8).to(place.device)
    sounds = torch.randint(0, 256, (pairs, 1, 128, frames), dtype=torch.uint8).to(place.device)
    device, precision = torch.device(place.device), "bf16" if place.is_gpu else "fp32"

    def embed() -> tuple[Tensor, Tensor]:
        return towers.encode_image(images), towers.encode_sound(sounds)

    def step(embed_both: Callable[[], tuple[Tensor, Tensor]]) -> None:
        with autocast(device, precision):
            loss = loss_of(*embed_both())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, embed


def longest_kernels(action: Callable[[], object]) -> list[str]:
    """The kernels on which the device spends most of a call: share of the time, calls, name."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        action()
        torch.cuda.synchronize()
    kernels = sorted(profiler.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    total = sum(kernel.self_device_time_total for kernel in kernels) or 1.0
    return [
        f"{kernel.self_device_time_total / total:.1%} in {kernel.count} calls of {kernel.key[:90]}"
        for kernel in kernels[:KERNELS]
    ]
