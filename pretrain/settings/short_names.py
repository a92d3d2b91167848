"""Usual names of training settings, as typed for timm, open_clip and torchvision's scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shards.command_line.short_names import SHORT_NAMES

TRAINING_NAMES: Mapping[str, Sequence[str]] = {
    **SHORT_NAMES,
    "-e": ("--epochs",),
    "-j": ("--workers", "--data.workers"),
    "--workers": ("--data.workers",),
    "--num-workers": ("--workers", "--data.workers"),
    "--lr": ("--optimizer.learning-rate",),
    "--learning-rate": ("--optimizer.learning-rate",),
    "--wd": ("--optimizer.weight-decay",),
    "--weight-decay": ("--optimizer.weight-decay",),
    "--momentum": ("--optimizer.momentum",),
    "--opt": ("--optimizer.name",),
    "--warmup-epochs": ("--optimizer.warmup-epochs",),
    "--clip-grad": ("--optimizer.max-gradient-norm",),
    "--grad-clip-norm": ("--optimizer.max-gradient-norm",),
    "--accum-freq": ("--optimizer.accumulation",),
    "--grad-accum-steps": ("--optimizer.accumulation",),
    "--layer-decay": ("--model.layer-decay",),
    "--img-size": ("--image-size", "--data.image-size"),
    "--image-encoder": ("--model.image-encoder",),
    "--sound-encoder": ("--model.sound-encoder",),
    "--freeze": ("--model.freeze",),
    "--embed-dim": ("--model.embedding-dim",),
    "--loss": ("--loss.name",),
    "--margin": ("--loss.margin",),
    "--temperature": ("--loss.temperature",),
    "--save-frequency": ("--checkpoint.every-epochs",),
    "--val-frequency": ("--validation.every-epochs",),
}
"""Full names by short name; a command takes the first of them that it has."""
