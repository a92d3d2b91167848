"""The model alone: a training step of the two towers as our trainer runs it, and in float32 with NCHW layout."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from benchmarks.corpus import Workplace
from benchmarks.measuring import alone, fastest, machine
from benchmarks.results import Figure, Row, Target
from torch import Tensor

from pretrain.losses.batch_triplet import batch_triplet_loss
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.precision import cpu_computes_bf16

SUITE = "model"


@dataclass(frozen=True)
class StepForm:
    """How a step is computed.

    Attributes:
        bf16: products in bfloat16 under autocast, else all in float32.
        channels_last: layout of activations and weights.
        norm: "batch" or "group".
        threads: of this process, 0 for all cores.
        processes: that share the batch.
    """

    bf16: bool = True
    channels_last: bool = True
    norm: str = "batch"
    threads: int = 0
    processes: int = 1


OURS, PLAIN = "ours: bf16, channels last", "float32, NCHW"
FORMS = {
    OURS: StepForm(),
    "bf16, channels last, a process's half, group norm, 1 thread": StepForm(norm="group", threads=1, processes=2),
    "float32, channels last": StepForm(bf16=False),
    PLAIN: StepForm(bf16=False, channels_last=False),
}
IN_LOOP = {1: OURS, 2: "bf16, channels last, a process's half, group norm, 1 thread"}
"""The form that a loop of this many processes runs."""

TARGETS = (
    (
        Target(
            "float32 NCHW / ours, time of a step",
            Figure(SUITE, PLAIN, "seconds_a_step"),
            Figure(SUITE, OURS, "seconds_a_step"),
            1.8,
        ),
    )
    if cpu_computes_bf16()
    else ()
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Every form, in a process of its own."""
    batch_size, image_size, repeats = (4, 64, 1) if place.quick else (64, 192, 3)
    rows = []
    for name, form in FORMS.items():
        if form.bf16 and not cpu_computes_bf16():
            rows.append(Row(SUITE, name, why_not="this CPU has no bf16 instructions, the trainer computes in float32"))
            continue
        if place.quick:
            form = replace(form, threads=1)  # two threads wait for each other where something else runs beside them
        seconds = alone(step_seconds, form, batch_size // form.processes, image_size, repeats)
        figures = {"seconds_a_step": seconds, "pairs_per_second": batch_size / seconds, "batch": batch_size}
        rows.append(Row(SUITE, name, figures))
    return rows


def step_seconds(form: StepForm, pairs: int, image_size: int, repeats: int) -> float:
    """Seconds of forward, loss, backward and Adam of the `soundingearth-resnet18` towers, the fastest of a few."""
    torch.set_num_threads(form.threads or machine()["cores"])
    torch.manual_seed(0)
    layout = torch.channels_last if form.channels_last else torch.contiguous_format
    towers = TwoTower(TwoTowerConfig(norm=form.norm, image_size=image_size))
    towers.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(towers.parameters())
    images = torch.randint(0, 256, (pairs, 3, image_size, image_size), dtype=torch.uint8)
    sounds = torch.randint(0, 256, (pairs, 1, 128, 128), dtype=torch.uint8)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form.bf16):
            embeddings = embed(towers, images, sounds, layout)
            loss = batch_triplet_loss(*embeddings)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    return fastest(step, repeats)


def embed(towers: TwoTower, images: Tensor, sounds: Tensor, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    """Both embeddings; `encode_image` itself would turn any layout into channels-last."""
    if layout == torch.channels_last:
        return towers.encode_image(images), towers.encode_sound(sounds)
    config = towers.config
    normal = (images.float() / 255 - towers.image_mean) / towers.image_std
    standard = (sounds.float() - config.spectrogram_mean) / config.spectrogram_std
    return towers.image_tower(normal), towers.sound_tower(standard)
