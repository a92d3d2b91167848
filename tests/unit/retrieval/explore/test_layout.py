"""The two-dimensional map: neighbours stay neighbours, it is kept, and it says of how many pairs it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.explore.atlas import Atlas
from retrieval.explore.atlas_building import PairNumbers
from retrieval.explore.gallery_index import GalleryIndex
from retrieval.explore.layout import open_layout, point_density
from shards.errors import UserError
from shards.manifest import Manifest
from shards.schema import SpectrogramSettings
from shards.streaming.reading import ShardSet

Floats = NDArray[np.float32]


def atlas_of(folder: Path, image: Floats, sound: Floats) -> Atlas:
    """An atlas of embeddings whose pairs nobody looks at."""
    folder.mkdir(exist_ok=True)
    shard_set = ShardSet(folder, Manifest("recordings", {}, SpectrogramSettings(), {}, (), ()))
    places, labels = np.full((len(image), 2), np.nan, np.float32), np.full(len(image), -1, np.int32)
    return Atlas(
        *(folder, shard_set, image, sound, places, labels, [], {}, {}),
        {"image": GalleryIndex(image), "sound": GalleryIndex(sound)},
        PairNumbers(shard_set, ("test",), (len(image),)),
    )


def two_towns(num_pairs: int, dim: int = 8) -> tuple[Floats, Floats]:
    """Pairs with even numbers lie in one cluster and those with odd ones in another, images and sounds alike."""
    rng = np.random.default_rng(0)
    centres = np.where(np.arange(num_pairs)[:, None] % 2, 4.0, -4.0)
    image, sound = centres + rng.normal(size=(2, num_pairs, dim))
    return image.astype(np.float32), sound.astype(np.float32)


def neighbours_agree(points: Floats, kinds: NDArray[np.int64]) -> float:
    """The fraction of points whose nearest other point is of their kind."""
    far = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return float(np.mean(kinds[far.argmin(axis=1)] == kinds))


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_neighbours_stay_neighbours_and_the_map_is_kept(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas = atlas_of(tmp_path / "atlas", *two_towns(80))
    layout = open_layout(atlas, method, most_points=60)
    name = {"tsne": "t-SNE", "umap": "UMAP"}[method]
    assert layout.description == f"{name} of 60 of 80 pairs, sampled with a fixed seed"
    assert layout.description in capsys.readouterr().err
    assert (layout.numbers.shape, np.unique(layout.numbers).size) == ((60,), 60)
    assert np.all(np.diff(layout.numbers) > 0)
    points = np.concatenate([layout.image_points, layout.sound_points])
    assert (points.shape, points.dtype) == ((120, 2), np.float32)
    assert neighbours_agree(points, np.tile(layout.numbers % 2, 2)) > 0.95
    assert [path.name for path in atlas.folder.iterdir()] == [f"layout-{method}-60.npz"]

    again = open_layout(atlas_of(tmp_path / "other", *two_towns(80)), method, most_points=60)
    assert np.array_equal(again.image_points, layout.image_points)
    monkeypatch.setattr("retrieval.explore.layout._plane", None)
    kept = open_layout(atlas, method, most_points=60)
    assert np.array_equal(kept.sound_points, layout.sound_points)
    assert np.array_equal(kept.numbers, layout.numbers)


def test_other_counts_and_methods_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.explore.layout._plane", lambda embeddings, method: embeddings[:, :2])
    image, sound = two_towns(30)
    atlas = atlas_of(tmp_path, image, sound)
    for method, most_points in (("umap", 100), ("umap", 10), ("tsne", 100)):
        layout = open_layout(atlas, method, most_points=most_points)
        assert np.array_equal(layout.image_points, image[layout.numbers, :2])
        assert np.array_equal(layout.sound_points, sound[layout.numbers, :2])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("layout-tsne-30.npz", "layout-umap-10.npz", "layout-umap-30.npz")
    ]
    assert open_layout(atlas).description == "UMAP of 30 pairs"


@pytest.mark.parametrize("damage", ["truncated", "no zip", "other arrays", "other pairs", "not finite"])
def test_a_damaged_map_is_made_again(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.explore.layout._plane", lambda embeddings, method: embeddings[:, :2])
    atlas = atlas_of(tmp_path, *two_towns(30))
    whole = open_layout(atlas)
    path = tmp_path / "layout-umap-30.npz"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "no zip":
        path.write_text("no map")
    elif damage == "other arrays":
        np.savez(path, numbers=whole.numbers)
    elif damage == "other pairs":
        np.savez(path, numbers=whole.numbers + 1, image_points=-whole.image_points, sound_points=-whole.sound_points)
    else:
        nowhere = np.full_like(whole.image_points, np.nan)
        np.savez(path, numbers=whole.numbers, image_points=nowhere, sound_points=nowhere)
    assert np.array_equal(open_layout(atlas).image_points, whole.image_points)


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["few", "two points", "almost one point", "far away"])
def test_hard_embeddings_get_a_finite_map(method: str, kind: str, tmp_path: Path) -> None:
    image, sound = two_towns(5 if kind == "few" else 40)
    if kind == "two points":
        image, sound = np.zeros_like(image), np.ones_like(sound)
    elif kind == "almost one point":
        image, sound = image * np.float32(1e-30), sound * np.float32(1e-30)
    elif kind == "far away":
        image, sound = image + np.float32(1e6), sound + np.float32(1e6)
    layout = open_layout(atlas_of(tmp_path, image, sound), method)
    assert np.isfinite(layout.image_points).all()
    assert np.isfinite(layout.sound_points).all()


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_collapsed_embeddings_get_a_sentence(method: str, tmp_path: Path) -> None:
    # scikit-learn's t-SNE ends the whole process on them.
    same = np.full((37, 8), 0.1, np.float32)  # whose mean, summed up, need not be 0.1
    with pytest.raises(UserError, match="all pairs have the same embedding, so there is no map"):
        open_layout(atlas_of(tmp_path, same, same), method)


def test_too_few_pairs_and_unknown_methods_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs at least 5 pairs, got 4"):
        open_layout(atlas_of(tmp_path, *two_towns(4)))
    with pytest.raises(UserError, match="unknown layout 'pca'; choose one of: tsne, umap"):
        open_layout(atlas_of(tmp_path, *two_towns(9)), "pca")


def test_density_is_high_where_points_crowd() -> None:
    rng = np.random.default_rng(0)
    crowd, scattered = rng.normal(scale=0.1, size=(900, 2)), rng.uniform(-5, 5, size=(100, 2))
    density = point_density(np.concatenate([scattered, crowd]))
    assert (density.shape, density.dtype, density.max()) == ((1000,), np.float32, 1)
    assert density.min() > 0
    assert np.median(density[100:]) > 10 * np.median(density[:100])
    # Neither shifting nor stretching an axis moves anything relative to the others.
    moved = point_density(np.concatenate([scattered, crowd]) * [2, 8] + 64)
    assert np.corrcoef(moved, density)[0, 1] > 0.999


def test_density_of_one_place_is_one() -> None:
    assert point_density(np.ones((7, 2))).tolist() == [1.0] * 7
    assert point_density(np.array([[0.0, 3.0], [1.0, 3.0]])).tolist() == [1.0, 1.0]
