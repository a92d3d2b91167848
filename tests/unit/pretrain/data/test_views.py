"""What a batch holds of a pair: deterministic, from its own seed, in the places given."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pretrain.data.batches import BatchLayout, TrainingBatches
from pretrain.data.image_transforms import RandomImageView
from pretrain.data.seeds import derived_seed
from pretrain.data.views import (
    ImageAndSound,
    Row,
    TwoImageViews,
    Views,
    WithIdentity,
    WithImageGroup,
    WithPlace,
    WithPlaceGroup,
    point_on_sphere,
)
from pretrain.settings.pretraining import Config, DataSettings
from shards.schema import SpectrogramSettings
from shards.streaming.reading import ShardSet, StoredSample

SETTINGS = DataSettings(image_size=32, num_frames=64)


def row_of(views: Views) -> dict[str, np.ndarray]:
    return {name: torch.empty(shape, dtype=dtype).fill_(99).numpy() for name, (shape, dtype) in views.entries.items()}


ALL_VIEWS = [
    ImageAndSound(SETTINGS, SpectrogramSettings()),
    TwoImageViews(RandomImageView(SETTINGS), 32),
    WithPlace(WithIdentity(ImageAndSound(SETTINGS, SpectrogramSettings()))),
]


@pytest.mark.parametrize("views", ALL_VIEWS, ids=["pair", "two views", "place and identity"])
def test_the_seed_fixes_the_views_also_in_another_process(views: Views, tiny_shards: Path) -> None:
    sample = ShardSet.open(tiny_shards).sample("train", 3)
    rows = [row_of(views) for _ in range(3)]
    views.write(sample, 5, rows[0])
    pickle.loads(pickle.dumps(views)).write(sample, 5, rows[1])
    views.write(sample, 6, rows[2])
    for name in views.entries:
        assert np.array_equal(rows[0][name], rows[1][name])
        is_of_the_pair = name in ("place", "identity")
        assert np.array_equal(rows[0][name], rows[2][name]) == is_of_the_pair, name


def test_two_views_are_the_view_of_two_seeds(tiny_shards: Path) -> None:
    sample, view = ShardSet.open(tiny_shards).sample("train", 0), RandomImageView(SETTINGS)
    views = TwoImageViews(view, 32)
    row = row_of(views)
    views.write(sample, 11, row)
    assert np.array_equal(row["image"], view(sample.image(), 11))
    assert np.array_equal(row["other_image"], view(sample.image(), derived_seed(11, "other view")))


def test_place_and_identity_are_those_of_the_pair(tiny_shards: Path) -> None:
    shard_set = ShardSet.open(tiny_shards)
    views = WithPlace(WithIdentity(ImageAndSound(SETTINGS, SpectrogramSettings())))
    identities = set()
    for number in range(shard_set.num_samples("train")):
        sample, row = shard_set.sample("train", number), row_of(views)
        views.write(sample, 0, row)
        metadata = sample.metadata()
        east, north = np.radians(metadata["longitude"]), np.radians(metadata["latitude"])
        expected = [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)]
        assert row["place"] == pytest.approx(expected, abs=1e-6)
        assert row["identity"] >= 0
        identities.add(int(row["identity"]))
    assert len(identities) == shard_set.num_samples("train")


class Stored:
    """A sample whose image and coordinates are given."""

    def __init__(self, key: str, image: bytes, longitude: float | None, latitude: float | None) -> None:
        self.key, self._image = key, image
        self._metadata = {"longitude": longitude, "latitude": latitude}

    def image_bytes(self) -> bytes:
        return self._image

    def metadata(self) -> dict[str, float | None]:
        return self._metadata


class Nothing(Views):
    """No entries."""

    entries: ClassVar[dict[str, tuple[tuple[int, ...], torch.dtype]]] = {}  # type: ignore[misc]

    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        """Writes nothing."""


def group(views: Views, *sample: Any) -> int:
    row = row_of(views)
    views.write(Stored(*sample), 0, row)  # type: ignore[arg-type]
    ((_, value),) = row.items()
    assert value >= 0
    return int(value)


def test_groups_are_equal_for_equal_images_and_places() -> None:
    images, places = WithImageGroup(Nothing()), WithPlaceGroup(Nothing())
    assert (
        group(images, "a", b"x", 1.0, 2.0) == group(images, "b", b"x", 8.0, 9.0) != group(images, "a", b"y", 1.0, 2.0)
    )
    here = group(places, "a", b"x", 11.50001, -0.00004)
    assert here == group(places, "b", b"y", 11.50004, 0.00004) != group(places, "a", b"x", 11.5002, 0.0)
    unknown = [group(places, key, b"x", None, 48.0) for key in ("a", "b", "a")]
    assert unknown[0] == unknown[2] != unknown[1]


def test_poles_and_unknown_places() -> None:
    assert point_on_sphere(123.0, 90.0) == pytest.approx([0, 0, 1], abs=1e-7)
    assert point_on_sphere(180.0, 0.0) == pytest.approx(point_on_sphere(-180.0, 0.0), abs=1e-7)
    assert np.isnan(point_on_sphere(1.0, None)).all()


def test_batches_hold_what_the_views_ask_for(tiny_shards: Path) -> None:
    views = WithPlace(TwoImageViews(RandomImageView(SETTINGS), 32))
    part = TrainingBatches(
        ShardSet.open(tiny_shards), Config(), BatchLayout(8), rank=0, first_step=0, last_step=1, views=views
    )
    batch = next(iter(part))
    assert batch["image"].shape == batch["other_image"].shape == (8, 3, 32, 32)
    assert batch["place"].shape == (8, 3)
    assert batch["place"].dtype == torch.float32
    assert "sound" not in batch
