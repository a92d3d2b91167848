"""Losses that sum over the similarity matrix, in tiles: memory grows linearly with the batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 1024
"""Tile size, rows and columns."""

PastEmbeddings = tuple[Tensor, Tensor]
"""Embeddings of images and sounds of past batches, (k, d) each."""
Excluded = Callable[[slice, slice], Tensor]
"""From a range of pairs of the batch, in [0, n), and a range of pairs of the batch and the past, in [0, n + k), to
(rows, columns) bool: which of the latter are excluded as negatives of the former, never a pair itself."""


def cross_entropy_of_similarities(
    images: Tensor,
    sounds: Tensor,
    scale: Tensor,
    *,
    image_to_sound: float,
    sound_to_image: float,
    past: PastEmbeddings | None = None,
    excluded: Excluded | None = None,
) -> Tensor:
    """Cross-entropy of each pair against the mismatches of its row and of its column.

    With S_ij = scale · x_i·y_j it is a · mean_i(log Σ_j exp S_ij − S_ii) + b · mean_j(log Σ_i exp S_ij − S_jj), where
    the sums run over the batch and the past pairs, without those excluded.

    Args:
        images: (n, d), the x.
        sounds: (n, d), the y.
        scale: scalar.
        image_to_sound: a, the weight of the rows.
        sound_to_image: b, the weight of the columns.
        past: images and sounds, (k, d) each, negatives of all pairs; constants.
        excluded: selects pairs that are excluded as negatives.

    Returns:
        A scalar. It is differentiable once, in images, sounds and scale.
    """
    nothing = images.new_empty((0, images.shape[1]))
    past_images, past_sounds = past if past is not None else (nothing, nothing)
    result: Tensor = _CrossEntropy.apply(
        images, sounds, scale, past_images.detach(), past_sounds.detach(), excluded, image_to_sound, sound_to_image
    )
    return result


def sigmoid_cross_entropy_of_similarities(images: Tensor, sounds: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Binary cross-entropy of every image with every sound: −1/n Σ_ij log σ(z_ij (scale · x_i·y_j + bias)).

    z is 1 for a pair and −1 for a mismatch.

    Args:
        images: (n, d), the x.
        sounds: (n, d), the y.
        scale: scalar.
        bias: scalar.

    Returns:
        A scalar. It is differentiable once, in all four tensors.
    """
    result: Tensor = _SigmoidCrossEntropy.apply(images, sounds, scale, bias)
    return result


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, rows, TILE):
        for column in range(0, columns, TILE):
            yield slice(row, min(row + TILE, rows)), slice(column, min(column + TILE, columns))


def _once(ctx: Any) -> tuple[Tensor, ...]:
    # Not torch's once_differentiable: within a longer expression it treats the gradient as a constant.
    if torch.is_grad_enabled():
        raise RuntimeError("a loss in tiles is differentiable only once")
    saved: tuple[Tensor, ...] = ctx.saved_tensors
    return saved


class _CrossEntropy(torch.autograd.Function):
    """One pass for the sums of exponentials, one for the gradients, which are stored (2 · n · d numbers)."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        sounds: Tensor,
        scale: Tensor,
        past_images: Tensor,
        past_sounds: Tensor,
        excluded: Excluded | None,
        by_row: float,
        by_column: float,
    ) -> Tensor:
        n, k = len(images), len(past_images)

        def similarities(products: Tensor, r: slice, c: slice) -> Tensor:
            scaled = scale * products
            return scaled if excluded is None else scaled.masked_fill_(excluded(r, c), -torch.inf)

        rows, columns = images.new_full((n,), -torch.inf), images.new_full((n,), -torch.inf)
        for r, c in _tiles(n, n):
            tile = similarities(images[r] @ sounds[c].T, r, c)
            rows[r] = torch.logaddexp(rows[r], tile.logsumexp(1))
            columns[c] = torch.logaddexp(columns[c], tile.logsumexp(0))
        for r, c in _tiles(n, k):
            after = slice(n + c.start, n + c.stop)
            rows[r] = torch.logaddexp(rows[r], similarities(images[r] @ past_sounds[c].T, r, after).logsumexp(1))
            columns[r] = torch.logaddexp(columns[r], similarities(sounds[r] @ past_images[c].T, r, after).logsumexp(1))
        true = (images * sounds).sum(1)
        total = by_row * (rows - scale * true).mean() + by_column * (columns - scale * true).mean()

        image_gradients, sound_gradients = torch.zeros_like(images), torch.zeros_like(sounds)
        scale_gradient = torch.zeros_like(scale)
        for r, c in _tiles(n, n):
            products = images[r] @ sounds[c].T
            tile = similarities(products, r, c)
            weights = by_row * (tile - rows[r, None]).exp() + by_column * (tile - columns[None, c]).exp()
            image_gradients[r] += weights @ sounds[c]
            sound_gradients[c] += weights.T @ images[r]
            scale_gradient += (weights * products).sum()
        for r, c in _tiles(n, k):
            after = slice(n + c.start, n + c.stop)
            for queries, gradients, others, sums, weight in (
                (images, image_gradients, past_sounds, rows, by_row),
                (sounds, sound_gradients, past_images, columns, by_column),
            ):
                products = queries[r] @ others[c].T
                weights = weight * (similarities(products, r, after) - sums[r, None]).exp()
                gradients[r] += weights @ others[c]
                scale_gradient += (weights * products).sum()
        both = by_row + by_column
        image_gradients, sound_gradients = image_gradients - both * sounds, sound_gradients - both * images
        scale_gradient = (scale_gradient - both * true.sum()) / n
        ctx.save_for_backward(image_gradients * (scale / n), sound_gradients * (scale / n), scale_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (outer * gradient for gradient in _once(ctx))
        return (*gradients, None, None, None, None, None)


class _SigmoidCrossEntropy(torch.autograd.Function):
    """One pass for value and gradients."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, sounds: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        n = len(images)
        total, scale_gradient, bias_gradient = (images.new_zeros(()) for _ in range(3))
        image_gradients, sound_gradients = torch.zeros_like(images), torch.zeros_like(sounds)
        for r, c in _tiles(n, n):
            products = images[r] @ sounds[c].T
            signs = -torch.ones_like(products)
            if r == c:
                signs.fill_diagonal_(1.0)
            logits = signs * (scale * products + bias)
            total -= F.logsigmoid(logits).sum()
            weights = -signs * torch.sigmoid(-logits)
            image_gradients[r] += weights @ sounds[c]
            sound_gradients[c] += weights.T @ images[r]
            scale_gradient += (weights * products).sum()
            bias_gradient += weights.sum()
        ctx.save_for_backward(
            image_gradients * (scale / n), sound_gradients * (scale / n), scale_gradient / n, bias_gradient / n
        )
        return total / n

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, ...]:
        return tuple(outer * gradient for gradient in _once(ctx))
