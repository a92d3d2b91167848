"""Tiles mapped by overlapping windows: every pixel once, averages as a slow reference has them, sizes of all kinds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from downstream.landcover.tiled_inference import predict_tile, window_starts


@given(length=st.integers(16, 3000), window=st.integers(16, 1200), share=st.floats(0, 0.9))
def test_windows_cover_a_side_and_share_the_overlap(length: int, window: int, share: float) -> None:
    window = min(length, window)
    overlap = int(share * window)
    starts = window_starts(length, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert all(0 < right - left <= window - overlap for left, right in pairwise(starts))


def by_colour(seen: list[tuple[int, int]]) -> object:
    """A network that knows each pixel's class from its red channel, and the windows that it saw."""

    def predict(images: Tensor) -> Tensor:
        seen.append((images.shape[2], images.shape[3]))
        return F.one_hot(images[:, 0].long(), 7).permute(0, 3, 1, 2).float()

    return predict


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (65, 64), (200, 131), (17, 150), (150, 5)])
def test_every_pixel_gets_its_own_class(size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 7, (*size, 3), dtype=np.uint8)
    seen: list[tuple[int, int]] = []
    labels = predict_tile(by_colour(seen), rgb, window=64, overlap=16)  # type: ignore[arg-type]
    assert labels.dtype == np.uint8
    assert (labels == rgb[..., 0]).all()
    assert all(height <= 64 and width <= 64 and not height % 16 and not width % 16 for height, width in seen)


def test_a_window_of_zero_is_the_whole_tile() -> None:
    rgb = np.random.default_rng(0).integers(0, 7, (200, 131, 3), dtype=np.uint8)
    seen: list[tuple[int, int]] = []
    labels = predict_tile(by_colour(seen), rgb, window=0, overlap=0)  # type: ignore[arg-type]
    assert (labels == rgb[..., 0]).all()
    assert seen == [(208, 144)]


def test_probabilities_are_averaged_with_weights_that_fall_to_the_borders() -> None:
    """Against a reference that holds the sums for all classes and pixels of the tile at once."""
    size, window, overlap = 100, 48, 20
    rgb = np.random.default_rng(1).integers(0, 255, (size, size, 3), dtype=np.uint8)
    kernel = torch.randn(5, 3, 9, 9, generator=torch.Generator().manual_seed(0))

    def predict(images: Tensor) -> Tensor:
        # Zeros beyond the border, so that windows disagree about what lies near theirs.
        return F.conv2d(images.float() / 255, kernel, padding=4).softmax(1)

    ramp = np.array([min(i + 1, window - i, overlap + 1) / (overlap + 1) for i in range(window)])
    sums = np.zeros((5, size, size))
    for top in window_starts(size, window, overlap):
        for left in window_starts(size, window, overlap):
            part = rgb[top : top + window, left : left + window].transpose(2, 0, 1)
            probabilities = predict(torch.from_numpy(np.ascontiguousarray(part))[None])[0].numpy()
            sums[:, top : top + window, left : left + window] += probabilities * np.outer(ramp, ramp)
    found = predict_tile(predict, rgb, window=window, overlap=overlap)
    assert (found == sums.argmax(0)).mean() > 0.9999  # float32 may settle a tie otherwise
    plain = predict(torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None])[0].argmax(0).numpy()
    assert 0.9 < (found == plain).mean() < 1
