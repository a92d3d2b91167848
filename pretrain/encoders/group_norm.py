"""Group norm for networks whose widths are not all divisible by 32."""

from __future__ import annotations

import math

from torch import nn

MOST_GROUPS = 32


def group_norm(channels: int) -> nn.Module:
    """Group norm with the largest number of groups up to 32 that divides `channels` and 32."""
    return nn.GroupNorm(math.gcd(MOST_GROUPS, channels), channels)


def replace_batch_norms(module: nn.Module) -> None:
    """Replaces batch norms by group norms, in networks that take no other norm when they are built."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            module.add_module(name, group_norm(child.num_features))
        else:
            replace_batch_norms(child)
