"""How rasters become RGB, as it is recorded: it comes back as it was written, and contradictions are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shards.raster_settings import RasterSettings


@pytest.mark.parametrize(
    "rasters",
    [
        RasterSettings(),
        RasterSettings((4, 3, 2), (-0.1, 0.35), "corpus"),
        RasterSettings((8, 1, 1), (0, 3000), "range", max_whole_side=256),
        RasterSettings(scale_by="corpus"),
    ],
)
def test_they_come_back_from_json(rasters: RasterSettings) -> None:
    assert RasterSettings.from_dict(json.loads(json.dumps(rasters.to_dict()))) == rasters


def test_without_a_record_each_image_is_scaled_by_itself() -> None:
    assert RasterSettings.from_dict({}) == RasterSettings((1, 2, 3), None, "chip", 512)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bands": (0, 1, 2)}, "counted from 1, got"),
        ({"bands": (1, 2)}, "three numbers"),
        ({"scale_range": (5.0, 5.0), "scale_by": "range"}, "low < high"),
        ({"scale_range": (0.0, float("inf")), "scale_by": "range"}, "low < high"),
        ({"scale_by": "range"}, "does not go with"),
        ({"scale_by": "chip", "scale_range": (0.0, 1.0)}, "does not go with"),
        ({"scale_by": "tile"}, "range, corpus or chip, got 'tile'"),
        ({"rotated_resampling": "cubic"}, "must be bilinear, got 'cubic'"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RasterSettings(**values)


def test_a_range_of_8_bit_values_holds_for_8_bits() -> None:
    assert RasterSettings(scale_range=(0, 255), scale_by="range").maps_8_bits
    assert not RasterSettings(scale_range=(0, 256), scale_by="range").maps_8_bits
    assert not RasterSettings(scale_range=(0, 200), scale_by="corpus").maps_8_bits
    assert not RasterSettings().maps_8_bits


def test_what_a_corpus_without_deep_rasters_teaches() -> None:
    assert RasterSettings((4, 3, 2), None, "corpus").learned == RasterSettings((4, 3, 2), None, "chip")
    known = RasterSettings((4, 3, 2), (1, 2), "corpus")
    assert known.learned == known


def test_they_are_described() -> None:
    assert RasterSettings().describe() == "bands 1, 2, 3, each image scaled by its own percentiles"
    words = RasterSettings((4, 3, 2), (300, 3512.5), "corpus").describe()
    assert words == "bands 4, 3, 2, scaled from 300 to 3512.5"
