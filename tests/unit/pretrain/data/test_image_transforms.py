"""Random views: the paper's distributions, drawn independently, from a seed alone."""

from __future__ import annotations

import dataclasses
import random

import cv2
import numpy as np
import pytest
from scipy.stats import ks_2samp

from pretrain.data.augmentations import RotatedResize
from pretrain.data.image_transforms import RandomImageView
from pretrain.presets import PRESETS
from pretrain.settings.pretraining import DataSettings

SETTINGS = DataSettings(image_size=32)


def picture(side: int) -> np.ndarray:
    return cv2.blur(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8), (5, 5))


def test_a_view_follows_its_seed_and_the_crop_alone() -> None:
    view, other = RandomImageView(SETTINGS), RandomImageView(SETTINGS)
    image = picture(100)
    first = view(image, 7)
    view(image, 8)
    np.testing.assert_array_equal(view(image, 7), first)
    box = other.crop(100, 100, 7)
    part = image[box.top : box.top + box.height, box.left : box.left + box.width].copy()
    out = np.zeros((3, 32, 32), np.uint8)
    assert other.of_crop(part, 7, out=out) is out
    np.testing.assert_array_equal(out, first)
    assert not np.array_equal(view(image, 8), first)


def test_crops_are_the_papers() -> None:
    boxes = [RandomImageView(SETTINGS).crop(512, 512, seed) for seed in range(4000)]
    sides = np.array([box.height for box in boxes])
    assert all(box.height == box.width for box in boxes)
    assert (sides.min(), sides.max()) == (192, 384)
    assert abs(sides.mean() - 288) < 4
    # Where in the room that is left, uniformly.
    places = np.array([[box.top / (512 - box.height), box.left / (512 - box.width)] for box in boxes])
    assert np.all(np.abs(places.mean(axis=0) - 0.5) < 0.02)
    assert places.min() == 0
    assert places.max() == 1
    # In an image that is not square, within its shorter side.
    assert {RandomImageView(SETTINGS).crop(512, 800, seed).height <= 384 for seed in range(50)} == {True}


def test_what_is_drawn_for_a_view_is_independent() -> None:
    view = RandomImageView(DataSettings(image_size=32, blur_probability=0.5))
    image, drawn = picture(64), []
    for seed in range(600):
        box = view.crop(64, 64, seed)
        view(image, seed)
        turn, blur, colour = view._transform.transforms
        shifts = [colour.params[name] for name in ("hue_shift", "sat_shift", "val_shift")]
        drawn.append([box.height, box.top, box.left, turn.params["angle"], bool(blur.params), *shifts])
    correlation = np.corrcoef(np.array(drawn, dtype=float).T)
    # Where a crop may lie depends on its size in extent only; 0.17 is four standard errors.
    assert np.abs(correlation - np.eye(len(correlation)))[:, 3:].max() < 0.17


CODE = PRESETS["soundingearth-code-resnet18"].data


def test_the_authors_augmentation_is_the_one_that_their_code_lists() -> None:
    import albumentations as A

    # data_loading.py of khdlr/SoundingEarth, after its crop; in the albumentations of 2021 borders were reflected and
    # the grid was not kept within the image, which are settings today.
    theirs = A.Compose(
        [
            A.Resize(192, 192),
            A.Rotate(limit=180, p=1.0, border_mode=cv2.BORDER_REFLECT_101),
            A.Blur(blur_limit=3),
            A.GridDistortion(normalized=False, border_mode=cv2.BORDER_REFLECT_101),
            A.HueSaturationValue(),
        ]
    )
    view, part = RandomImageView(CODE), picture(400)
    for seed in range(24):
        theirs.set_random_state(np.random.default_rng((seed, 1)), random.Random(f"{seed}/view"))
        np.testing.assert_array_equal(view.of_crop(part, seed).transpose(1, 2, 0), theirs(image=part)["image"])


def test_the_authors_crops_are_those_of_albumentations() -> None:
    import albumentations as A

    crop = A.RandomResizedCrop((192, 192), scale=(0.5, 1.0), p=1.0)
    crop.set_random_seed(0)
    theirs, ours = [], []
    for seed in range(3000):
        left, top, right, bottom = crop.get_params_dependent_on_data({"shape": (512, 512, 3)}, {})["crop_coords"]
        theirs.append(((bottom - top) * (right - left), np.log((right - left) / (bottom - top)), top, left))
        box = RandomImageView(CODE).crop(512, 512, seed)
        ours.append((box.height * box.width, np.log(box.width / box.height), box.top, box.left))
    assert {box[0] >= 0.497 * 512**2 for box in ours} == {True}
    for mine, rival in zip(np.array(ours).T, np.array(theirs).T, strict=True):
        # Two samples of 3,000 from one distribution differ by more than 0.05 (Kolmogorov-Smirnov) once in a thousand.
        assert ks_2samp(mine, rival).statistic < 0.05


def test_colours_and_grids_change_as_often_as_set() -> None:
    flat = np.full((40, 40, 3), (200, 90, 60), np.uint8)
    settings = dataclasses.replace(SETTINGS, blur_probability=0.0, colour_probability=0.25, hue_degrees=90.0)
    changed = [not np.array_equal(RandomImageView(settings)(flat, seed)[:, 0, 0], flat[0, 0]) for seed in range(600)]
    assert 0.18 < np.mean(changed) < 0.32
    whole = {"crop_min": 1.0, "crop_max": 1.0, "rotation_degrees": 0.0, "colour_probability": 0.0}
    grids = DataSettings(image_size=32, blur_probability=0.0, grid_distortion_probability=0.25, **whole)
    image = picture(32)
    moved = [not np.array_equal(RandomImageView(grids)(image, seed).transpose(1, 2, 0), image) for seed in range(600)]
    assert 0.18 < np.mean(moved) < 0.32


def test_a_box_blur_is_the_mean_of_nine_pixels() -> None:
    whole = {"crop_min": 1.0, "crop_max": 1.0, "rotation_degrees": 0.0, "colour_probability": 0.0}
    settings = DataSettings(image_size=32, blur="box", blur_probability=1.0, **whole)
    image = picture(32)
    shown = RandomImageView(settings)(image, 0).transpose(1, 2, 0)
    nine = [
        image[1 + down : 31 + down, 1 + right : 31 + right].astype(float) for down in (-1, 0, 1) for right in (-1, 0, 1)
    ]
    assert np.abs(shown[1:31, 1:31] - np.mean(nine, axis=0)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("angle", [-170.0, -33.0, 0.0, 45.0, 90.0])
def test_turning_at_the_same_size_is_albumentations_rotation(angle: float) -> None:
    import albumentations as A

    image = picture(40)
    rotate = A.Rotate((angle, angle), border_mode=cv2.BORDER_REFLECT_101, p=1.0)
    ours = RotatedResize(40, 180).apply(image, angle=angle).astype(int)
    assert np.abs(ours - rotate(image=image)["image"]).max() <= 1


@pytest.mark.parametrize("side", [24, 48, 64, 200])
def test_without_an_angle_it_is_a_resize(side: int) -> None:
    image = picture(side)
    smaller = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) if side > 64 else image
    expected = cv2.resize(smaller, (32, 32), interpolation=cv2.INTER_LINEAR).astype(int)
    difference = np.abs(RotatedResize(32, 0).apply(image, angle=0.0) - expected)
    # At the edge of what is enlarged, a resize repeats the last pixel where a turn reflects.
    assert difference[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_crops_have_views_too(side: int) -> None:
    assert RotatedResize(32, 180).apply(picture(8)[:side, :side], angle=45.0).shape == (32, 32, 3)


def test_flips_and_right_angles_give_all_eight_views_exactly() -> None:
    settings = DataSettings(
        image_size=32,
        **{"crop_min": 1.0, "crop_max": 1.0, "rotation_degrees": 0.0, "blur_probability": 0.0},
        **{"hue_degrees": 0.0, "saturation": 0.0, "value": 0.0, "flips": True, "right_angles": True},
    )
    image = picture(32)
    turned = [np.rot90(image, quarter) for quarter in range(4)]
    expected = {part.tobytes() for whole in turned for part in (whole, whole[:, ::-1])}
    assert len(expected) == 8
    found = {RandomImageView(settings)(image, seed).transpose(1, 2, 0).tobytes() for seed in range(100)}
    assert found == expected
    plain = dataclasses.replace(settings, flips=False, right_angles=False)
    assert {RandomImageView(plain)(image, seed).transpose(1, 2, 0).tobytes() for seed in range(5)} == {image.tobytes()}
