"""Land-cover masks become labels, tiles that can't be used are named, and patches are dealt without their tiles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from raster_files import bands_of, scene, write_raster
from rasterio.transform import Affine

from downstream.landcover.benchmark import Tile
from downstream.landcover.decoded_tiles import DecodedTiles, decoded_tiles
from downstream.landcover.deepglobe import DEEPGLOBE_CLASSES
from downstream.landcover.patches import PatchBatches, PatchIndex, cut_patch, patch_starts
from downstream.landcover.tiles import (
    UNKNOWN,
    ForeignColour,
    SurveyedTile,
    TileImage,
    class_shares,
    labels_of_mask,
    read_ahead,
    read_tile,
    survey_tiles,
)
from pretrain.data.batches import BatchLayout
from shards.errors import UserError
from shards.raster_settings import RasterSettings

COLOURS = np.array([*DEEPGLOBE_CLASSES.values(), (0, 0, 0)], dtype=np.uint8)
"""The palette, then unknown."""


def write_tile(folder: Path, key: str, labels: NDArray[np.integer], seed: int = 0) -> Tile:
    """A tile of noise with a mask of `labels`, 6 being unknown."""
    tile = Tile(key, folder / f"{key}_sat.jpg", folder / f"{key}_mask.png")
    noise = np.random.default_rng(seed).integers(0, 255, (*labels.shape, 3), dtype=np.uint8)
    cv2.imwrite(str(tile.image), noise)
    Image.fromarray(COLOURS[labels]).save(tile.mask)
    return tile


def random_labels(height: int, width: int, seed: int = 0) -> NDArray[np.integer]:
    return np.random.default_rng(seed).integers(0, 7, (height, width))


def test_each_colour_is_its_class_and_black_is_unknown() -> None:
    labels = labels_of_mask(COLOURS[None], DEEPGLOBE_CLASSES)
    assert labels.tolist() == [[0, 1, 2, 3, 4, 5, UNKNOWN]]


def test_channels_are_on_from_128() -> None:
    mask = np.array([[(127, 128, 255), (255, 128, 127), (127, 127, 127), (128, 128, 128)]], dtype=np.uint8)
    assert labels_of_mask(mask, DEEPGLOBE_CLASSES).tolist() == [[0, 1, UNKNOWN, 5]]


def test_a_colour_that_is_none_of_the_seven_is_named() -> None:
    mask = COLOURS[random_labels(8, 8)]
    mask[2:4, 3] = (250, 3, 9)
    with pytest.raises(ForeignColour, match=r"2 pixels of the colour \(255, 0, 0\), which is none of: urban"):
        labels_of_mask(mask, DEEPGLOBE_CLASSES)


def test_a_foreign_colour_in_one_mask_stops_the_run(tmp_path: Path) -> None:
    tiles = [write_tile(tmp_path, str(key), random_labels(40, 40, key)) for key in range(3)]
    red = np.array(Image.open(tiles[1].mask))
    red[0, 0] = (255, 0, 0)
    Image.fromarray(red).save(tiles[1].mask)
    with pytest.raises(UserError, match=r"1_mask.png has 1 pixels of the colour \(255, 0, 0\).*recolour that mask"):
        survey_tiles(tiles, DEEPGLOBE_CLASSES, max_corrupt=1.0, threads=2)


def test_tiles_that_can_not_be_read_are_named_and_refused_above_a_share(tmp_path: Path) -> None:
    tiles = [write_tile(tmp_path, str(key), random_labels(40, 48, key)) for key in range(4)]
    tiles[1].image.write_bytes(tiles[1].image.read_bytes()[:300])
    cv2.imwrite(str(tiles[3].image), np.zeros((40, 40, 3), dtype=np.uint8))
    usable, faults = survey_tiles(tiles, DEEPGLOBE_CLASSES, max_corrupt=0.5, threads=2)
    assert [found.tile.key for found in usable] == ["0", "2"]
    assert (usable[0].height, usable[0].width) == (40, 48)
    assert faults[0].startswith("1: truncated image: 1_sat.jpg")
    assert faults[1] == "3: image and mask differ in size: 3_sat.jpg 40 × 40 and 3_mask.png 48 × 40"
    with pytest.raises(UserError, match=r"2 of 4 tiles can't be used, more than max_corrupt 0.49; the first: 1:"):
        survey_tiles(tiles, DEEPGLOBE_CLASSES, max_corrupt=0.49, threads=2)


def test_masks_of_class_numbers_instead_of_colours_are_refused(tmp_path: Path) -> None:
    tile = write_tile(tmp_path, "1", random_labels(40, 40))
    Image.fromarray(random_labels(40, 40).astype(np.uint8)).save(tile.mask)
    with pytest.raises(UserError, match=r"none of the 1 masks holds a pixel of a class.*urban \(0, 255, 255\)"):
        survey_tiles([tile], DEEPGLOBE_CLASSES, max_corrupt=0.0, threads=1)


def test_class_shares_are_of_the_known_pixels(tmp_path: Path) -> None:
    labels = np.full((40, 40), 6)
    labels[:10], labels[10:15] = 3, 0
    usable, _ = survey_tiles([write_tile(tmp_path, "1", labels)], DEEPGLOBE_CLASSES, max_corrupt=0.0, threads=1)
    shares = class_shares(usable, DEEPGLOBE_CLASSES)
    assert shares["forest"] == pytest.approx(2 / 3)
    assert shares["urban"] == pytest.approx(1 / 3)
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("threads", [1, 3, 9])
def test_tiles_read_ahead_come_in_order(tmp_path: Path, threads: int) -> None:
    tiles = [write_tile(tmp_path, str(key), random_labels(33, 33, key), key) for key in range(5)]
    read = list(read_ahead(tiles, DEEPGLOBE_CLASSES, threads=threads))
    assert [tile for tile, _ in read] == tiles
    for tile, image in read:
        assert (image.labels == read_tile(tile, DEEPGLOBE_CLASSES).labels).all()
    assert not (read[0][1].labels == read[1][1].labels).all()


def test_patches_of_a_published_tile_are_36() -> None:
    assert list(patch_starts(2448, 512, 347)) == [0, 347, 694, 1041, 1388, 1735]
    tile = Tile("1", Path("1_sat.jpg"), Path("1_mask.png"))
    assert len(PatchIndex([SurveyedTile(tile, 2448, 2448, ()), SurveyedTile(tile, 2448, 2448, ())], 512, 347)) == 72


def test_every_patch_has_its_number() -> None:
    sizes = [(40, 70), (30, 90), (100, 33)]
    tiles = [
        SurveyedTile(Tile(str(number), Path("a"), Path("b")), *size, class_pixels=())
        for number, size in enumerate(sizes)
    ]
    index = PatchIndex(tiles, size=32, stride=20)
    expected = [
        (str(number), top, left)
        for number, (height, width) in enumerate(sizes)
        for top in range(0, max(1, height - 32 + 1), 20)
        for left in range(0, max(1, width - 32 + 1), 20)
    ]
    found = [index.place(number) for number in range(len(index))]
    assert [(tile.key, top, left) for tile, top, left in found] == expected


def test_beyond_a_small_tile_pixels_are_mirrored_and_unknown() -> None:
    rgb = np.arange(10 * 40 * 3, dtype=np.uint8).reshape(10, 40, 3)
    patch = cut_patch(TileImage(rgb, np.zeros((10, 40), dtype=np.uint8)), 0, 4, 32)
    assert patch.rgb.shape == (32, 32, 3)
    assert (patch.rgb[:10] == rgb[:, 4:36]).all()
    assert (patch.rgb[10] == rgb[8, 4:36]).all()
    assert (patch.labels[:10] == 0).all()
    assert (patch.labels[10:] == UNKNOWN).all()


def batches_of(
    tiles: list[Tile], processes: int, first: int = 0, last: int = 6, decoded: DecodedTiles | None = None
) -> list[dict[str, object]]:
    """The global batches of steps, put together from what each process reads."""
    surveyed, _ = survey_tiles(
        tiles, DEEPGLOBE_CLASSES, max_corrupt=0.0, threads=1, keep=decoded.keep if decoded else None
    )
    layout = BatchLayout(4, processes)
    streams = [
        iter(
            PatchBatches(
                PatchIndex(surveyed, 32, 24),
                decoded or DecodedTiles(tiles[0].image.parent, DEEPGLOBE_CLASSES),
                layout,
                seed=3,
                rank=rank,
                first_step=first,
                last_step=last,
            )
        )
        for rank in range(processes)
    ]
    return [
        {
            "keys": [key for part in parts for key in part["keys"]],
            "image": torch.cat([part["image"] for part in parts]),
            "labels": torch.cat([part["labels"] for part in parts]),
        }
        for parts in zip(*streams, strict=True)
    ]


def test_batches_are_the_same_for_any_number_of_processes_and_from_any_step(tmp_path: Path) -> None:
    tiles = [write_tile(tmp_path, str(key), random_labels(60, 84, key), key) for key in range(2)]
    alone = batches_of(tiles, 1)
    for others in (batches_of(tiles, 2), [*batches_of(tiles, 1, 0, 2), *batches_of(tiles, 2, 2, 6)]):
        for one, other in zip(alone, others, strict=True):
            assert one["keys"] == other["keys"]
            assert torch.equal(one["image"], other["image"])  # type: ignore[arg-type]
            assert torch.equal(one["labels"], other["labels"])  # type: ignore[arg-type]
    # Three steps an epoch of 12 patches: each patch once, and in another order in the next epoch.
    epochs = [[key for batch in alone[start : start + 3] for key in batch["keys"]] for start in (0, 3)]  # type: ignore[attr-defined]
    assert len(set(epochs[0])) == 12
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]


def test_a_patch_is_what_its_key_says(tmp_path: Path) -> None:
    labels = random_labels(60, 84)
    batch = batches_of([write_tile(tmp_path, "17", labels)], 1, 0, 1)[0]
    image = read_tile(Tile("17", tmp_path / "17_sat.jpg", tmp_path / "17_mask.png"), DEEPGLOBE_CLASSES)
    for key, pixels, known in zip(batch["keys"], batch["image"], batch["labels"], strict=True):  # type: ignore[call-overload]
        name, _, _, row, _, column = key.replace(",", "").split()
        top, left = int(row), int(column)
        assert name == "17"
        assert (pixels.numpy().transpose(1, 2, 0) == image.rgb[top : top + 32, left : left + 32]).all()
        assert (known.numpy() == image.labels[top : top + 32, left : left + 32]).all()


def test_decoded_tiles_give_the_same_batches_without_reading_a_tile_again(tmp_path: Path) -> None:
    tiles = [write_tile(tmp_path, str(key), random_labels(60, 84, key), key) for key in range(2)]
    expected = batches_of(tiles, 1)
    with decoded_tiles(tmp_path / "out", DEEPGLOBE_CLASSES) as decoded:
        batches_of(tiles, 1, decoded=decoded)
        assert decoded.num_kept() == 2
        surveyed, _ = survey_tiles(tiles, DEEPGLOBE_CLASSES, max_corrupt=0.0, threads=1)
        for tile in tiles:
            tile.image.unlink()
        found = PatchBatches(
            PatchIndex(surveyed, 32, 24), decoded, BatchLayout(4), seed=3, rank=0, first_step=0, last_step=6
        )
        for one, other in zip(expected, found, strict=True):
            assert one["keys"] == other["keys"]
            assert torch.equal(one["image"], other["image"])  # type: ignore[arg-type]
            assert torch.equal(one["labels"], other["labels"])  # type: ignore[arg-type]
        folder = decoded.folder
    assert not folder.exists()


def test_a_disk_without_room_keeps_no_tile(tmp_path: Path) -> None:
    tile = write_tile(tmp_path, "1", random_labels(60, 84))
    full = DecodedTiles(tmp_path, DEEPGLOBE_CLASSES, least_free=2**62)
    gone = DecodedTiles(tmp_path / "not there", DEEPGLOBE_CLASSES)
    for decoded in (full, gone):
        decoded.keep(tile, read_tile(tile, DEEPGLOBE_CLASSES))
        assert decoded.num_kept() == 0
        assert (decoded.read(tile).rgb == read_tile(tile, DEEPGLOBE_CLASSES).rgb).all()


def test_a_tile_that_broke_meanwhile_is_a_sentence(tmp_path: Path) -> None:
    tile = write_tile(tmp_path, "1", random_labels(60, 84))
    surveyed, _ = survey_tiles([tile], DEEPGLOBE_CLASSES, max_corrupt=0.0, threads=1)
    tile.mask.unlink()
    read = DecodedTiles(tmp_path, DEEPGLOBE_CLASSES)
    batches = PatchBatches(
        PatchIndex(surveyed, 32, 24), read, BatchLayout(4), seed=0, rank=0, first_step=0, last_step=1
    )
    sentence = "tile 1: missing image: 1_mask.png: no such file; it could be read when the run began"
    assert next(iter(batches))["error"] == sentence
    with pytest.raises(UserError, match="tile 1: missing image"):
        list(read_ahead([tile], DEEPGLOBE_CLASSES, threads=1))


def test_the_image_of_a_tile_has_the_bands_of_the_weights_and_its_mask_has_not(tmp_path: Path) -> None:
    tile = write_tile(tmp_path, "1", random_labels(60, 84))
    levels = np.array([2500, 300, 600, 1800], np.uint16)
    path = write_raster(tmp_path / "1.tif", levels[:, None, None] + np.zeros((4, 60, 84), np.uint16))
    rasters = RasterSettings((4, 3, 2), (0.0, 2550.0), "corpus")
    image = read_tile(dataclasses.replace(tile, image=path, rasters=rasters), DEEPGLOBE_CLASSES)
    assert (image.rgb == [180, 60, 30]).all()
    assert (image.labels == read_tile(tile, DEEPGLOBE_CLASSES).labels).all()


def test_a_tile_and_its_mask_keep_their_rows_where_only_one_says_where_north_is(tmp_path: Path) -> None:
    tile = write_tile(tmp_path, "1", random_labels(60, 84))
    southwards = Affine(1, 0, 5e5, 0, 1, 5e6)
    path = write_raster(tmp_path / "1.tif", bands_of(scene(60, 84)), crs="EPSG:32632", transform=southwards)
    image = read_tile(dataclasses.replace(tile, image=path), DEEPGLOBE_CLASSES)
    assert (image.rgb == scene(60, 84)).all()
