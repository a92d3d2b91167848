"""NWPU-RESISC45: 45 classes × 700 images of 256 × 256 pixels (Cheng, Han and Lu, Proc. IEEE 2017)."""

from __future__ import annotations

from downstream.scenes.benchmark import SceneBenchmark

CLASSES = (
    *("airplane", "airport", "baseball_diamond", "basketball_court", "beach", "bridge", "chaparral", "church"),
    *("circular_farmland", "cloud", "commercial_area", "dense_residential", "desert", "forest", "freeway"),
    *("golf_course", "ground_track_field", "harbor", "industrial_area", "intersection", "island", "lake"),
    *("meadow", "medium_residential", "mobile_home_park", "mountain", "overpass", "palace", "parking_lot"),
    *("railway", "railway_station", "rectangular_farmland", "river", "roundabout", "runway", "sea_ice", "ship"),
    *("snowberg", "sparse_residential", "stadium", "storage_tank", "tennis_court", "terrace"),
    *("thermal_power_station", "wetland"),
)

RESISC45 = SceneBenchmark(
    name="resisc45",
    title="NWPU-RESISC45",
    folder="NWPU-RESISC45",
    images_of_class=dict.fromkeys(CLASSES, 700),
    image_size=256,
    usual_fractions=(0.1, 0.2),
)
