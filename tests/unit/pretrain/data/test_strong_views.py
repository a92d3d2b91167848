"""Strong views: their crops, colours and blur as set, drawn independently, from a seed alone."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.strong_views import StrongImageView
from pretrain.settings.pretraining import StrongViewSettings

PLAIN = StrongViewSettings(jitter_probability=0, grey_probability=0, blur_probability=0)


def picture(height: int, width: int) -> np.ndarray:
    return cv2.blur(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), (5, 5))


def test_a_view_follows_its_seed_and_the_crop_alone() -> None:
    view, other = (StrongImageView(StrongViewSettings(), 32) for _ in range(2))
    image = picture(100, 120)
    first = view(image, 7)
    view(image, 8)
    np.testing.assert_array_equal(view(image, 7), first)
    box = other.crop(100, 120, 7)
    part = image[box.top : box.top + box.height, box.left : box.left + box.width].copy()
    out = np.zeros((3, 32, 32), np.uint8)
    assert other.of_crop(part, 7, out=out) is out
    np.testing.assert_array_equal(out, first)
    assert not np.array_equal(view(image, 8), first)


@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 2**64 - 1))
def test_a_crop_is_a_part_of_any_image(height: int, width: int, seed: int) -> None:
    box = StrongImageView(PLAIN, 32).crop(height, width, seed)
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert min(box.height, box.width) >= 1


def test_crops_have_the_areas_and_shapes_that_are_set() -> None:
    view = StrongImageView(replace(PLAIN, crop_area_min=0.3), 32)
    boxes = np.array([view.crop(512, 512, seed) for seed in range(4000)], dtype=float)
    heights, widths = boxes[:, 2], boxes[:, 3]
    areas, aspects = heights * widths / 512**2, np.log(widths / heights)
    assert 0.297 < areas.min() < 0.305
    assert areas.max() > 0.97
    assert np.abs(aspects).max() <= math.log(4 / 3) + 0.01
    assert abs(aspects.mean()) < 4 * aspects.std() / math.sqrt(4000)
    # Where in the room that is left, uniformly.
    for place, room in ((boxes[:, 0], 512 - heights), (boxes[:, 1], 512 - widths)):
        shares = place[room > 20] / room[room > 20]
        assert abs(shares.mean() - 0.5) < 0.03
        assert shares.min() == 0
        assert shares.max() == 1


@pytest.mark.parametrize(("height", "width"), [(100, 100), (100, 300), (300, 100)])
def test_where_no_crop_is_large_enough_it_is_the_middle_one(height: int, width: int) -> None:
    view = StrongImageView(replace(PLAIN, crop_area_min=1.0), 32)
    # The whole image where its sides allow it, else as much of it as they do.
    tall, wide = min(height, math.ceil(width * 4 / 3)), min(width, math.ceil(height * 4 / 3))
    for seed in range(50):
        assert view.crop(height, width, seed) == ((height - tall) // 2, (width - wide) // 2, tall, wide)


def test_without_colours_and_blur_it_is_a_flip_of_the_resized_crop() -> None:
    view, image, counts = StrongImageView(PLAIN, 32), picture(80, 80), np.zeros(4)
    for seed in range(400):
        top, left, height, width = view.crop(80, 80, seed)
        part = image[top : top + height, left : left + width]
        area = cv2.INTER_AREA if max(height, width) > 32 else cv2.INTER_LINEAR
        resized = cv2.resize(part, (32, 32), interpolation=area).transpose(2, 0, 1)
        flips = [resized[:, ::down, ::right] for down in (1, -1) for right in (1, -1)]
        found = [np.array_equal(view(image, seed), flip) for flip in flips]
        assert sum(found) == 1
        counts += found
    assert counts.min() > 60  # of 100 each


def test_brightness_is_multiplied_within_its_bounds() -> None:
    settings = replace(PLAIN, jitter_probability=1, brightness=0.4, contrast=0, saturation=0, hue_degrees=0)
    view, grey = StrongImageView(settings, 32), np.full((40, 40, 3), 100, np.uint8)
    values = np.array([view(grey, seed) for seed in range(500)])
    assert np.all(values == values[:, :1, :1, :1])
    assert 60 <= values.min() < 63
    assert 137 < values.max() <= 140


def test_hue_turns_by_up_to_the_angle_that_is_set() -> None:
    settings = replace(PLAIN, jitter_probability=1, brightness=0, contrast=0, saturation=0, hue_degrees=36)
    red = np.zeros((40, 40, 3), np.uint8)
    red[:] = (200, 50, 50)
    view, hues = StrongImageView(settings, 32), []
    for seed in range(500):
        hue = cv2.cvtColor(view(red, seed).transpose(1, 2, 0), cv2.COLOR_RGB2HSV)[0, 0, 0] * 2.0
        hues.append((hue + 180) % 360 - 180)
    assert -38 <= min(hues) < -32
    assert 32 < max(hues) <= 38


def test_grey_views_have_equal_channels_as_often_as_set() -> None:
    view, image = StrongImageView(StrongViewSettings(grey_probability=0.2), 32), picture(60, 60)
    views = (view(image, seed) for seed in range(1000))
    grey = [bool(np.all(shown == shown[:1])) for shown in views]
    assert 0.15 < np.mean(grey) < 0.25


@pytest.mark.parametrize("size", [112, 224, 448])
def test_blur_is_0_1_to_2_pixels_at_224(size: int) -> None:
    view, dot = StrongImageView(replace(PLAIN, crop_area_min=1.0, blur_probability=1), size), np.zeros((size, size, 3))
    dot[size // 2, size // 2] = 255
    sigmas = []
    for seed in range(200):
        shown = view.of_crop(dot.astype(np.uint8), seed)[0].astype(float)
        place = np.arange(size)
        share = shown.sum(0) / shown.sum()
        sigmas.append(math.sqrt((share * place**2).sum() - (share * place).sum() ** 2))
    # Rounding to bytes takes away the faint outer parts of a blur.
    assert min(sigmas) < 0.4 * size / 224
    assert 1.4 * size / 224 < max(sigmas) <= 2.05 * size / 224


def test_what_is_drawn_for_a_view_is_independent() -> None:
    settings = StrongViewSettings(jitter_probability=0.5, grey_probability=0.5, blur_probability=0.5)
    view, image, drawn = StrongImageView(settings, 64), picture(128, 128), []
    names = ("brightness", "contrast", "saturation", "hue")
    for seed in range(1200):
        box = view.crop(128, 128, seed)
        view(image, seed)
        _, right, down, jitter, grey, blur = view._transform.transforms
        chances = [bool(step.params) for step in (right, down, jitter, grey, blur)]
        width = blur.params["kernel"].max() if blur.params else np.nan
        strengths = [jitter.params[name] for name in names] if jitter.params else [np.nan] * 4
        drawn.append([box.top, box.left, box.height * box.width, box.width / box.height, *chances, *strengths, width])
    table = np.ma.masked_invalid(np.array(drawn, dtype=float))
    correlation = np.ma.corrcoef(table.T).filled(0)
    # Where a crop may lie depends on its shape; four standard errors of half the seeds are 0.16.
    assert np.abs(correlation - np.eye(len(correlation)))[:, 4:].max() < 0.17
