"""A two-dimensional map of an atlas's embeddings by UMAP or t-SNE, cached in the atlas's folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from retrieval.embedding import save_npz
from retrieval.explore.atlas import Atlas
from retrieval.explore.options import LAYOUTS
from shards.array_files import read_arrays
from shards.errors import UserError
from shards.loudness import note

DISPLAY_NAMES = {"umap": "UMAP", "tsne": "t-SNE"}
MOST_POINTS = 10_000
FEWEST_PAIRS = 5
"""Minimum number of pairs for a map; neither method works with fewer."""
NEIGHBOURS = 15
"""Neighbourhood size of UMAP; its default."""
PERPLEXITY = 30.0
"""Perplexity of t-SNE; its default."""
SEED = 0
DENSITY_CELLS = 100
DENSITY_SMOOTHING_CELLS = 2.0


@dataclass(frozen=True)
class Layout:
    """Positions of the images and sounds of an atlas, or of a sample of its pairs, on a plane.

    Attributes:
        numbers: (m,) numbers of the pairs in the atlas, ascending.
        image_points, sound_points: (m, 2), from a joint fit, so that their distances are comparable.
        description: the method and the number of pairs, such as "UMAP of 10,000 of 50,545 pairs, sampled with a fixed
            seed".
    """

    numbers: NDArray[np.int64]
    image_points: NDArray[np.float32]
    sound_points: NDArray[np.float32]
    description: str


def open_layout(atlas: Atlas, method: str = "umap", *, most_points: int = MOST_POINTS) -> Layout:
    """Opens the map of an atlas, `layout-<method>-<pairs>.npz` in its folder, and computes it if missing.

    10,000 pairs take a minute or two on one core.

    Args:
        atlas: the atlas.
        method: "umap" (McInnes et al., arXiv 1802.03426) or "tsne" (van der Maaten and Hinton, JMLR 2008).
        most_points: maximum number of pairs; from a larger atlas, pairs are sampled with a fixed seed.

    Raises:
        UserError: unknown method, fewer than `FEWEST_PAIRS` pairs, or all embeddings are identical.
    """
    LAYOUTS.check(method)
    num_pairs = min(len(atlas), most_points)
    if num_pairs < FEWEST_PAIRS:
        raise UserError(f"a map of the embedding needs at least {FEWEST_PAIRS} pairs, got {num_pairs}")
    description = f"{DISPLAY_NAMES[method]} of {num_pairs:,} pairs"
    if num_pairs < len(atlas):
        description = f"{DISPLAY_NAMES[method]} of {num_pairs:,} of {len(atlas):,} pairs, sampled with a fixed seed"
    numbers = np.sort(np.random.default_rng(SEED).choice(len(atlas), num_pairs, replace=False)).astype(np.int64)
    path = atlas.folder / layout_name(method, num_pairs)
    points = _read(path, numbers)
    if points is None:
        note(f"computing {description} …")
        points = _plane(np.concatenate([atlas.image_embeddings[numbers], atlas.sound_embeddings[numbers]]), method)
        try:
            save_npz(path, numbers=numbers, image_points=points[:num_pairs], sound_points=points[num_pairs:])
        except OSError as error:
            # The map is shown even if it can't be saved.
            print(f"warning: the map is not saved: {path}: {error.strerror}", file=sys.stderr, flush=True)
    return Layout(numbers, points[:num_pairs], points[num_pairs:], description)


def layout_name(method: str, num_pairs: int) -> str:
    """The file name of the map of this number of pairs."""
    return f"layout-{method}-{num_pairs}.npz"


def point_density(points: NDArray[Any]) -> NDArray[np.float32]:
    """The density of points around each point of a plane, from a smoothed histogram, scaled to a maximum of 1.

    Args:
        points: (k, 2), finite.

    Returns:
        (k,) in (0, 1].
    """
    points = np.asarray(points, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    cells = np.minimum((points - low) / span * DENSITY_CELLS, DENSITY_CELLS - 1).astype(np.int64)
    counts = np.zeros((DENSITY_CELLS, DENSITY_CELLS))
    np.add.at(counts, (cells[:, 0], cells[:, 1]), 1)
    density = gaussian_filter(counts, DENSITY_SMOOTHING_CELLS, mode="constant")[cells[:, 0], cells[:, 1]]
    return (density / density.max()).astype(np.float32)


def _read(path: Path, numbers: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Reads the points from a file, images before sounds; None if it is missing, damaged or for other pairs."""
    try:
        image, sound, stored = read_arrays(path, ("image_points", "sound_points", "numbers")).values()
        points = np.concatenate([image, sound])
        is_ours = np.array_equal(stored, numbers) and np.issubdtype(points.dtype, np.floating)
    except ValueError:
        return None
    return points if is_ours and points.shape == (2 * len(numbers), 2) and np.isfinite(points).all() else None


def _plane(embeddings: NDArray[np.float32], method: str) -> NDArray[np.float32]:
    """(k, d) → (k, 2), deterministic on one machine."""
    # Both methods are invariant to shift and scale, but t-SNE's PCA initialisation crashes without variance.
    shifted = embeddings.astype(np.float64) - embeddings[0]
    largest = np.abs(shifted).max()
    if largest == 0:
        raise UserError("all pairs have the same embedding, so there is no map: the weights have collapsed")
    embeddings = (shifted / largest).astype(np.float32)
    return np.asarray(LAYOUTS[method](embeddings), dtype=np.float32)


def umap_plane(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """UMAP (McInnes et al., arXiv 1802.03426)."""
    from umap import UMAP  # type: ignore[import-untyped, unused-ignore]  # takes seconds to load

    neighbours = min(NEIGHBOURS, len(embeddings) - 1)
    return UMAP(n_neighbors=neighbours, random_state=SEED, n_jobs=1).fit_transform(embeddings)


def tsne_plane(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """t-SNE (van der Maaten and Hinton, JMLR 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    return TSNE(perplexity=perplexity, random_state=SEED, init="pca").fit_transform(embeddings)
