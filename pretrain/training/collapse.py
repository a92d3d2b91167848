"""Whether embeddings still tell pairs apart: their spread and effective rank, and the warning when they fall."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_ROWS = 4
"""Fewer embeddings span so little that their effective rank says nothing."""
MIN_RELATIVE_SPREAD = 0.01
MIN_EFFECTIVE_RANK = 1.5
PATIENCE = 5
"""Observations in a row of collapsed embeddings, under a loss that has not fallen, before the warning."""


@dataclass(frozen=True)
class EmbeddingHealth:
    """How varied a batch of embeddings is.

    Attributes:
        relative_spread: root mean square distance from the mean, over the root mean square length; in [0, 1].
        effective_rank: exp of the entropy of the normalised singular values of the centred embeddings (Roy and
            Vetterli, EUSIPCO 2007); in [1, d], and 1 for embeddings that coincide.
    """

    relative_spread: float
    effective_rank: float

    @property
    def is_collapsed(self) -> bool:
        """Whether hardly anything is left to tell pairs apart by."""
        return self.relative_spread < MIN_RELATIVE_SPREAD or self.effective_rank < MIN_EFFECTIVE_RANK


@torch.no_grad()
def embedding_health(embeddings: Tensor) -> EmbeddingHealth:
    """The health of (n, d) embeddings, n ≥ 2."""
    embeddings = embeddings.detach().double().cpu()
    centred = embeddings - embeddings.mean(0)
    length = math.sqrt(embeddings.square().sum(1).mean().item())
    spread = math.sqrt(centred.square().sum(1).mean().item())
    # Below rounding of float32 the embeddings coincide, and singular values would be those of the noise.
    if spread <= 1e-6 * length or spread == 0:
        return EmbeddingHealth(0.0, 1.0)
    singular_values = torch.linalg.svdvals(centred)
    share = singular_values / singular_values.sum()
    entropy = torch.special.entr(share).sum().item()
    return EmbeddingHealth(spread / length, math.exp(entropy))


class CollapseWatch:
    """Warns once when embeddings have collapsed: at once though the loss has fallen, which hides it, else when they
    have stayed so for a while, for networks may begin with embeddings that are nearly the same."""

    def __init__(self) -> None:
        self._has_warned = False
        self._times_collapsed = 0

    def observe(
        self, step: int, loss: float, health: dict[str, EmbeddingHealth], *, first_loss: float | None
    ) -> str | None:
        """The warning to print, if this is the moment.

        Args:
            step: the step just taken.
            loss: its loss.
            health: of each kind of embedding in the batch, by name.
            first_loss: the run's first loss, None before there is one.
        """
        collapsed = {name: value for name, value in health.items() if value.is_collapsed}
        self._times_collapsed = self._times_collapsed + 1 if collapsed else 0
        if first_loss is None or self._has_warned or not collapsed:
            return None
        if loss <= first_loss:
            how = f"at step {step} though the loss fell from {first_loss:.4g} to {loss:.4g}"
        elif self._times_collapsed >= PATIENCE:
            how = f"and stayed so until step {step}, while the loss went from {first_loss:.4g} to {loss:.4g}"
        else:
            return None
        self._has_warned = True
        found = "; ".join(
            f"{name}: relative spread {value.relative_spread:.2g}, effective rank {value.effective_rank:.2f}"
            for name, value in collapsed.items()
        )
        return (
            f"warning: the embeddings have collapsed {how} ({found}); a lower learning rate, a longer warm-up, another "
            "temperature or a larger batch may help"
        )
