"""FuseMix: mixes the features of two pairs, image and sound by the same share."""

from __future__ import annotations

import torch
from torch import Tensor


def mixed_pairs(image: Tensor, sound: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixes each pair with another of the batch: λ · own + (1 − λ) · other, λ ~ Beta(alpha, alpha) for each pair.

    The mixture of two pairs is a pair again, because both modalities are mixed by the same λ with the same partner.
    Random numbers are torch's on the CPU, which the training loop seeds at each step.

    Source: Vouitsis et al., Data-Efficient Multimodal Fusion on a Single GPU (FuseMix), arXiv 2312.10144, section 4.

    Args:
        image: (n, f) features.
        sound: (n, g) features, row i from the pair of image i.
        alpha: > 0; 1 draws λ uniformly from [0, 1], smaller values more often near 0 or 1.

    Returns:
        (n, f) and (n, g).
    """
    partner = torch.randperm(len(image)).to(image.device)
    share = torch.distributions.Beta(alpha, alpha).sample((len(image), 1)).to(image.device, image.dtype)
    return torch.lerp(image[partner], image, share), torch.lerp(sound[partner], sound, share.to(sound.dtype))
