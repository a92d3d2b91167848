"""The batch of a set that is smaller than the preset's: fitted to the training split if the user gave no size."""

from __future__ import annotations

import dataclasses

from pretrain.settings.pretraining import Config

STEPS_AN_EPOCH = 2
"""At least this number of steps an epoch: with one, a run of 40 epochs would have 40 steps."""


def fitted_batch_size(batch_size: int, num_pairs: int, parts: int) -> int:
    """The batch size itself if the split holds that many pairs, else the largest with two steps an epoch.

    Args:
        batch_size: that of the preset.
        num_pairs: pairs of the training split.
        parts: processes × accumulation steps, of which a batch is a multiple.

    Returns:
        A multiple of `parts` that leaves every part of a process at least one pair, and the loss at least two; the
        batch size itself if no such size exists.
    """
    if batch_size <= num_pairs:
        return batch_size
    half, whole = (pairs // parts * parts for pairs in (num_pairs // STEPS_AN_EPOCH, num_pairs))
    fitted = half if half >= 2 * parts else whole
    return fitted if fitted >= max(parts, 2) else batch_size


def with_fitted_batch(config: Config, num_pairs: int, num_processes: int) -> tuple[Config, str]:
    """The settings with a batch that fits the training split, and a line that says so ("" if it fitted before)."""
    fitted = fitted_batch_size(config.batch_size, num_pairs, num_processes * config.optimizer.accumulation)
    if fitted == config.batch_size:
        return config, ""
    words = (
        f"batch size {fitted}, because the preset's {config.batch_size} is more than the {num_pairs} training pairs; "
        "--batch-size N decides otherwise"
    )
    return dataclasses.replace(config, batch_size=fitted), words
