"""Contrastive losses on the unit sphere, with all mismatches of the batch as negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.losses.batch_triplet import check_pairs
from pretrain.losses.no_negatives import NoNegatives
from pretrain.losses.pair_loss import PairLoss
from pretrain.losses.past_pairs import PastPairs
from pretrain.losses.similarity_tiles import (
    Excluded,
    PastEmbeddings,
    cross_entropy_of_similarities,
    sigmoid_cross_entropy_of_similarities,
)

LEAST_TEMPERATURE = 0.01
"""CLIP's bound (Radford et al., ICML 2021, section 2.5): logits never grow more than a hundredfold."""
GREATEST_TEMPERATURE = 1.0
_LEAST, _GREATEST = math.log(LEAST_TEMPERATURE), math.log(GREATEST_TEMPERATURE)
SIGMOID_SCALE, SIGMOID_BIAS = 10.0, -10.0
"""SigLIP's initial values (Zhai et al., ICCV 2023, section 3.2), since nearly all of the n² terms are negatives."""


def contrastive_loss(
    image_embeddings: Tensor,
    sound_embeddings: Tensor,
    temperature: float | Tensor = 0.2,
    direction: str = "image_to_sound",
    *,
    past: PastEmbeddings | None = None,
    excluded: Excluded | None = None,
    groups: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """InfoNCE: cross-entropy of each pair against all mismatches, on cosine similarities divided by a temperature.

    With S_ij = x_i·y_j / temperature of unit vectors, image to sound is mean_i(log Σ_j exp S_ij − S_ii), as
    SoundingEarth's authors coded their contrastive variant; "both" averages it with the same over columns.
    Source: van den Oord et al., arXiv 1807.03748, Eq. 4. It is computed in at least float32 and in tiles, so that
    memory grows linearly with n.

    With `groups` and `label_smoothing` e, S_ii is replaced by (1 − e) times the mean of S_ij over the j of i's group
    (Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, Eq. 2) plus e times its mean over all j (Szegedy et
    al., CVPR 2016, section 7), which is the cross-entropy against that distribution.

    Args:
        image_embeddings: (n, d), n ≥ 2; row i is paired with row i of the sounds. They are scaled to length 1.
        sound_embeddings: (n, d).
        temperature: > 0.
        direction: "image_to_sound" or "both".
        past: images and sounds of past batches, (k, d) each, used as extra negatives.
        excluded: selects pairs that are excluded as negatives (see `pretrain.losses.similarity_tiles`).
        groups: (n,) int64; pairs with the same number are positives of each other. None: all differ.
        label_smoothing: share of the target that all n pairs have alike, in [0, 1).

    Returns:
        The loss, a scalar ≥ 0; log n where all embeddings coincide.

    Raises:
        ValueError: shapes that differ or are not (n, d), n < 2, a temperature ≤ 0, or an unknown direction.
    """
    check_pairs(image_embeddings, sound_embeddings)
    if not isinstance(temperature, Tensor) and temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if direction not in ("image_to_sound", "both"):
        raise ValueError(f"direction must be 'image_to_sound' or 'both', got {direction!r}")
    there, back = (1.0, 0.0) if direction == "image_to_sound" else (0.5, 0.5)
    with torch.autocast(image_embeddings.device.type, enabled=False):
        images, sounds = _on_sphere(image_embeddings), _on_sphere(sound_embeddings)
        scale = 1 / torch.as_tensor(temperature, dtype=images.dtype, device=images.device)
        past_on_sphere = None if past is None else (_on_sphere(past[0]), _on_sphere(past[1]))
        loss = cross_entropy_of_similarities(
            images,
            sounds,
            scale,
            image_to_sound=there,
            sound_to_image=back,
            past=past_on_sphere,
            excluded=excluded,
        )
        if groups is None and not label_smoothing:
            return loss
        # Both means are the same over rows as over columns.
        own = (images * sounds).sum(1).mean()
        positives = own if groups is None else _mean_in_groups(images, sounds, groups)
        target = (1 - label_smoothing) * positives + label_smoothing * (images.mean(0) @ sounds.mean(0))
        return loss + scale * (own - target)


def _mean_in_groups(images: Tensor, sounds: Tensor, groups: Tensor) -> Tensor:
    """The mean over i of the mean of x_i·y_j over the j of i's group."""
    _, group, counts = groups.unique(return_inverse=True, return_counts=True)
    shape = (len(counts), images.shape[1])
    of_images, of_sounds = (rows.new_zeros(shape).index_add(0, group, rows) for rows in (images, sounds))
    return ((of_images * of_sounds).sum(1) / counts).sum() / len(images)


def sigmoid_loss(image_embeddings: Tensor, sound_embeddings: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Binary classification of every image with every sound as a pair or not (SigLIP, Zhai et al., ICCV 2023, Eq. 1).

    L = −1/n Σ_i Σ_j log σ(z_ij (scale · x_i·y_j + bias)), z_ij = 1 for i = j and −1 elsewhere, of unit vectors.

    Args:
        image_embeddings: (n, d), n ≥ 2; row i is paired with row i of the sounds. They are scaled to length 1.
        sound_embeddings: (n, d).
        scale: scalar > 0, the inverse temperature.
        bias: scalar.

    Returns:
        The loss, a scalar ≥ 0.

    Raises:
        ValueError: shapes that differ or are not (n, d), or n < 2.
    """
    check_pairs(image_embeddings, sound_embeddings)
    with torch.autocast(image_embeddings.device.type, enabled=False):
        images, sounds = _on_sphere(image_embeddings), _on_sphere(sound_embeddings)
        return sigmoid_cross_entropy_of_similarities(images, sounds, scale.to(images.dtype), bias.to(images.dtype))


def _on_sphere(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)


class ContrastiveLoss(PairLoss):
    """`contrastive_loss` at a fixed temperature."""

    on_sphere = True

    def __init__(self, temperature: float = 0.2, direction: str = "image_to_sound") -> None:
        super().__init__()
        self.temperature = temperature
        self.direction = direction

    def forward(self, image_embeddings: Tensor, sound_embeddings: Tensor) -> Tensor:
        """The loss of a batch; see `contrastive_loss`."""
        return contrastive_loss(image_embeddings, sound_embeddings, self.temperature, self.direction)


class SymmetricContrastiveLoss(PairLoss):
    """`contrastive_loss` in both directions at a learned temperature with bounds.

    Args:
        temperature: initial value, between the bounds.
        queue_size: number of past pairs kept as extra negatives.
        negatives_from_km: pairs within this distance are excluded as negatives; 0 excludes none.
        embedding_dim: d of the embeddings, for the queue.
        positives: "pair" (its own other half alone), "image" or "place" (those of all pairs with the same one).
        label_smoothing: see `contrastive_loss`.

    Raises:
        ValueError: a temperature outside the bounds.
    """

    on_sphere = True

    def __init__(
        self,
        temperature: float = 0.2,
        *,
        queue_size: int = 0,
        negatives_from_km: float = 0.0,
        embedding_dim: int = 128,
        positives: str = "pair",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not LEAST_TEMPERATURE < temperature < GREATEST_TEMPERATURE:
            raise ValueError(
                f"temperature must be between {LEAST_TEMPERATURE} and {GREATEST_TEMPERATURE}, got {temperature}"
            )
        share = (math.log(temperature) - _LEAST) / (_GREATEST - _LEAST)
        # A parameter without dimensions could not be trained by DeepSpeed, which views parameters as bytes.
        self.raw_temperature = nn.Parameter(torch.tensor([math.log(share / (1 - share))]))
        self.negatives_from_km = negatives_from_km
        self.queue = PastPairs(queue_size, embedding_dim) if queue_size else None
        self.positives = positives
        self.label_smoothing = label_smoothing
        entries = {"identity": queue_size, "place": negatives_from_km, f"{positives}_group": positives != "pair"}
        self.inputs = tuple(name for name, is_needed in entries.items() if is_needed)

    @property
    def temperature(self) -> Tensor:
        """The temperature, a scalar: its logarithm is a sigmoid scaled to the bounds, so gradients never vanish at a
        clamp."""
        return (_LEAST + (_GREATEST - _LEAST) * torch.sigmoid(self.raw_temperature[0])).exp()

    def forward(
        self,
        image_embeddings: Tensor,
        sound_embeddings: Tensor,
        identity: Tensor | None = None,
        place: Tensor | None = None,
        **groups: Tensor,
    ) -> Tensor:
        """The loss of a batch, which then enters the queue.

        Args:
            image_embeddings: (n, d), see `contrastive_loss`.
            sound_embeddings: (n, d).
            identity: (n,) int64, equal for equal pairs; needed with a queue.
            place: (n, 3) points on the unit sphere; needed with `negatives_from_km`.
            groups: "image_group" or "place_group", (n,) int64, equal for equal ones; needed with such `positives`.
        """
        queue = self.queue
        if queue is None:
            excluded = None if place is None else NoNegatives(None, place, self.negatives_from_km, None)
            return contrastive_loss(
                image_embeddings,
                sound_embeddings,
                self.temperature,
                "both",
                excluded=excluded,
                groups=groups.get(f"{self.positives}_group"),
                label_smoothing=self.label_smoothing,
            )
        assert identity is not None
        excluded = NoNegatives(
            torch.cat([identity, queue.identities]),
            None if place is None else torch.cat([place, queue.places]),
            self.negatives_from_km,
            torch.cat([torch.ones_like(identity, dtype=torch.bool), queue.is_filled]),
        )
        past = (queue.images, queue.sounds)
        loss = contrastive_loss(
            image_embeddings, sound_embeddings, self.temperature, "both", past=past, excluded=excluded
        )
        queue.add(image_embeddings, sound_embeddings, identity, place)
        return loss


class SigmoidLoss(PairLoss):
    """`sigmoid_loss` with learned scale and bias."""

    on_sphere = True

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([math.log(SIGMOID_SCALE)]))
        self.bias = nn.Parameter(torch.tensor([SIGMOID_BIAS]))

    def forward(self, image_embeddings: Tensor, sound_embeddings: Tensor) -> Tensor:
        """The loss of a batch; see `sigmoid_loss`."""
        return sigmoid_loss(image_embeddings, sound_embeddings, self.log_scale[0].exp(), self.bias[0])
