"""On a CUDA GPU: both presets' pairs a second and share of the bf16 peak, torch.compile, and the fused loss kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from benchmarks.corpus import Workplace
from benchmarks.loss_memory import embeddings
from benchmarks.measuring import alone
from benchmarks.results import Row, Target
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pretrain.losses.batch_triplet import batch_triplet_loss
from pretrain.losses.batch_triplet_tiled import tiled_total
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.presets import PRESETS

SUITE = "cuda"
PRESET_NAMES = ("soundingearth-resnet18", "soundingearth-resnet50")
LOSS_SIZES, QUICK_LOSS_SIZES = (2048, 8192, 16_384, 32_768, 65_536), (256,)
TARGETS: tuple[Target, ...] = ()


@dataclass(frozen=True)
class StepSize:
    """How large a measured step is, and where it runs.

    Attributes:
        pairs: of the batch.
        image_size: in pixels.
        repeats: timed steps.
        device: "cuda", or "cpu" to try the code.
    """

    pairs: int = 256
    image_size: int = 192
    repeats: int = 20
    device: str = "cuda"


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Every case in a process of its own; one row that says why not, where there is no GPU."""
    if not torch.cuda.is_available():
        return [Row(SUITE, "all", why_not="no CUDA device")]
    size = StepSize(pairs=16, image_size=64, repeats=2) if place.quick else StepSize()
    peak = alone(matrix_product_flops, 1024 if place.quick else 8192, size.device)
    rows = [Row(SUITE, "bf16 matrix product, taken as the peak", {"tflops": peak / 1e12})]
    for preset in PRESET_NAMES:
        for compiled in (False, True):
            seconds, flops = alone(step_seconds_and_flops, preset, size, compiled)
            figures = {"pairs_per_second": size.pairs / seconds, "share_of_bf16_peak": flops / seconds / peak}
            rows.append(Row(SUITE, f"{preset}, batch {size.pairs}{', torch.compile' if compiled else ''}", figures))
    for n in QUICK_LOSS_SIZES if place.quick else LOSS_SIZES:
        for form in ("fused kernel", "tiled"):
            seconds, peak_mib = alone(loss_seconds_and_peak, form, n, size.repeats)
            rows.append(Row(SUITE, f"loss, {form}, n = {n:,}", {"ms": 1000 * seconds, "peak_mib": peak_mib}))
    return rows


def seconds_a_call(action: Callable[[], object], repeats: int, device: str) -> float:
    """Seconds of a call, from the mean of several, when the device has finished them."""
    import time

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        action()
    finish()
    started = time.perf_counter()
    for _ in range(repeats):
        action()
    finish()
    return (time.perf_counter() - started) / repeats


def matrix_product_flops(side: int, device: str) -> float:
    """Operations a second of a large product in bf16: what the device reaches at best in practice."""
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / seconds_a_call(lambda: a @ b, 20, device)


def step_seconds_and_flops(preset: str, size: StepSize, compiled: bool) -> tuple[float, float]:
    """Seconds of a training step in bf16, channels last, and its operations, of matrix products and convolutions."""
    config = TwoTowerConfig(image_encoder=PRESETS[preset].model.image_encoder, image_size=size.image_size)
    towers = TwoTower(config).to(size.device)
    towers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(towers.parameters())
    images = torch.randint(0, 256, (size.pairs, 3, size.image_size, size.image_size), dtype=torch.uint8)
    sounds = torch.randint(0, 256, (size.pairs, 1, 128, 128), dtype=torch.uint8)
    images, sounds = images.to(size.device), sounds.to(size.device)

    def embed() -> tuple[Tensor, Tensor]:
        return towers.encode_image(images), towers.encode_sound(sounds)

    embed_fast = torch.compile(embed) if compiled else embed

    def step(embed_both: Callable[[], tuple[Tensor, Tensor]]) -> None:
        with torch.autocast(size.device, dtype=torch.bfloat16):
            loss = batch_triplet_loss(*embed_both())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:
        step(embed)
    return seconds_a_call(lambda: step(embed_fast), size.repeats, size.device), float(counter.get_total_flops())


def loss_seconds_and_peak(form: str, n: int, repeats: int) -> tuple[float, float]:
    """Seconds of a forward and backward pass on the GPU, and the peak of its memory in MiB."""
    from pretrain.losses.batch_triplet_triton import fused_total

    total = fused_total if form == "fused kernel" else tiled_total
    image, sound = (rows.detach().cuda().requires_grad_() for rows in embeddings(n))

    def both_passes() -> None:
        torch.autograd.grad(total(image, sound, 1.0), (image, sound))

    seconds = seconds_a_call(both_passes, repeats, "cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    both_passes()
    return seconds, (torch.cuda.max_memory_allocated() - before) / 2**20
