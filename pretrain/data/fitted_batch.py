"""The batch of a set that is smaller than the preset's: fitted to the training split if the user gave no size."""

from __future__ import annotations

import dataclasses

from pretrain.settings.pretraining import Config

STEPS_AN_EPOCH = 2
"""At least this number of steps an epoch: with one, a run of 40 epochs would have 40 steps."""


def fitted_batch_size(batch_size: int, num_pairs: int, *, processes: int = 1, accumulation: int = 1) -> int:
    """The batch size itself if the split holds that many pairs, else the largest with two steps an epoch.

    Args:
        batch_size: that of the preset.
        num_pairs: pairs of the training split.
        processes: training processes; each gets the same share of a batch.
        accumulation: steps that a batch is divided into; each needs two pairs.

    Returns:
        A batch size that `BatchLayout` accepts; with one step an epoch if two are not possible; the batch size itself
        if the split is too small for any.
    """
    if batch_size <= num_pairs:
        return batch_size
    parts, least = processes * accumulation, max(processes, 2) * accumulation
    half, whole = (pairs // parts * parts for pairs in (num_pairs // STEPS_AN_EPOCH, num_pairs))
    fitted = half if half >= least else whole
    return fitted if fitted >= least else batch_size


def with_fitted_batch(config: Config, num_pairs: int, num_processes: int) -> tuple[Config, str]:
    """The settings with a batch that fits the training split, and a line that says so ("" if it fitted before)."""
    fitted = fitted_batch_size(
        config.batch_size, num_pairs, processes=num_processes, accumulation=config.optimizer.accumulation
    )
    if fitted == config.batch_size:
        return config, ""
    words = (
        f"batch size {fitted}, because the preset's {config.batch_size} is more than the {num_pairs} training pairs; "
        "--batch-size N decides otherwise"
    )
    return dataclasses.replace(config, batch_size=fitted), words
