"""UC Merced Land Use: 21 classes × 100 images of 256 × 256 pixels (Yang and Newsam, ACM GIS 2010)."""

from __future__ import annotations

from downstream.scenes.benchmark import SceneBenchmark

CLASSES = (
    *("agricultural", "airplane", "baseballdiamond", "beach", "buildings", "chaparral", "denseresidential", "forest"),
    *("freeway", "golfcourse", "harbor", "intersection", "mediumresidential", "mobilehomepark", "overpass"),
    *("parkinglot", "river", "runway", "sparseresidential", "storagetanks", "tenniscourt"),
)

UCMERCED = SceneBenchmark(
    name="ucmerced",
    title="UC Merced",
    folder="UCMerced_LandUse/Images",
    images_of_class=dict.fromkeys(CLASSES, 100),
    image_size=256,
    usual_fractions=(0.5, 0.8),
)
