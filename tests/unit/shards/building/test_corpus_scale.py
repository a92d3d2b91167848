"""The raster scale of a corpus: percentiles over its training images, measured once for all parts of a build."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raster_files import bands_of, scene, write_raster

from shards.building import corpus_scale
from shards.building.corpus_scale import measure_scale, settle_scale
from shards.building.planning import BuildPlan, ShardPlan
from shards.raster_settings import RasterSettings
from shards.schema import Pair

ASKED = RasterSettings((4, 3, 2), None, "corpus")


def pair_of(path: Path) -> Pair:
    return Pair(path.stem, path, path.with_suffix(".wav"), None, None, {}, {})


def write_chips(folder: Path, levels: list[int]) -> list[Pair]:
    """Chips of four bands; the first, which is not chosen, is far brighter."""
    folder.mkdir(exist_ok=True)
    pairs = []
    for number, level in enumerate(levels):
        generator = np.random.default_rng(number)
        values = generator.normal(level, 0.1 * level, (4, 48, 48)).astype(np.uint16)
        values[0] += 20_000
        values[2, :10] = 0
        pairs.append(pair_of(write_raster(folder / f"{number}.tif", values, nodata=0, photometric="MINISBLACK")))
    return pairs


def literal_range(pairs: list[Pair]) -> list[float]:
    import rasterio

    values = []
    for pair in pairs:
        with rasterio.open(pair.image) as raster:
            bands = raster.read([4, 3, 2])
        values.append(bands[:, (bands != 0).all(0)].ravel())
    return np.percentile(np.concatenate(values), [2, 98]).tolist()


def test_it_is_the_percentiles_of_all_valid_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_chips(tmp_path, [300, 3500, 900])
    Image.fromarray(scene()).save(tmp_path / "p.jpg")
    eight_bits = write_raster(tmp_path / "e.tif", bands_of(np.concatenate([scene(), scene()], axis=-1)))
    torn = tmp_path / "t.tif"
    torn.write_bytes(b"II*\0")
    others = [pair_of(path) for path in (tmp_path / "p.jpg", eight_bits, torn, tmp_path / "gone.tif")]
    measured = measure_scale(ASKED, [*others, *pairs])
    assert measured.scale_range == pytest.approx(literal_range(pairs), rel=1e-5)
    assert measured.scale_by == "corpus"
    assert "of 3 training images" in capsys.readouterr().out
    # The order of the pairs does not matter.
    assert measure_scale(ASKED, [*pairs[::-1], *others]) == measured


def test_without_deep_rasters_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(scene()).save(tmp_path / "p.jpg")
    write_raster(tmp_path / "e.tif", bands_of(np.concatenate([scene(), scene()], axis=-1)))
    pairs = [pair_of(tmp_path / name) for name in ("p.jpg", "e.tif")]
    assert measure_scale(ASKED, pairs) == ASKED
    assert capsys.readouterr().out == ""


def test_it_is_a_sample_drawn_by_keys_of_files_that_may_be_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_chips(tmp_path, [300] * 8)
    pictures = [pair_of(tmp_path / f"p{number}.jpg") for number in range(50)]
    for pair in pictures:
        Image.fromarray(scene()).save(pair.image)
    monkeypatch.setattr(corpus_scale, "SEARCHED_FILES", 8)
    monkeypatch.setattr(corpus_scale, "SAMPLED_RASTERS", 5)
    drawn = measure_scale(ASKED, [*pictures, *pairs])
    assert "of 5 training images" in capsys.readouterr().out
    assert measure_scale(ASKED, pairs[::-1]) == drawn


def plan_of(pairs: list[Pair], held_out: list[Pair]) -> BuildPlan:
    shards = (
        ShardPlan("train-000000.tar", "train", tuple(pairs)),
        ShardPlan("test-000000.tar", "test", tuple(held_out)),
    )
    return BuildPlan("recordings", {}, shards)


def test_all_parts_of_a_build_take_what_the_first_has_measured(tmp_path: Path) -> None:
    (tmp_path / "set" / ".build").mkdir(parents=True)
    pairs, held_out = write_chips(tmp_path / "a", [300, 3500]), write_chips(tmp_path / "b", [60_000 // 2])
    settled = settle_scale(ASKED, plan_of(pairs, held_out), tmp_path / "set")
    assert settled.scale_range == pytest.approx(literal_range(pairs), rel=1e-5), "of the training split alone"
    for pair in pairs:
        pair.image.unlink()
    assert settle_scale(ASKED, plan_of(pairs, held_out), tmp_path / "set") == settled
    kept = json.loads((tmp_path / "set" / ".build" / "rasters.json").read_text())
    assert RasterSettings.from_dict(kept) == settled


@pytest.mark.parametrize(
    "given", [RasterSettings(), RasterSettings(scale_range=(0, 3000), scale_by="range")], ids=["chip", "range"]
)
def test_other_scales_need_no_sample(tmp_path: Path, given: RasterSettings) -> None:
    assert settle_scale(given, plan_of([], []), tmp_path) == given
    assert not list(tmp_path.iterdir())
