"""AID: 10,000 images of 600 × 600 pixels in 30 classes (Xia et al., IEEE TGRS 2017, Table I)."""

from __future__ import annotations

from downstream.scenes.benchmark import SceneBenchmark

IMAGES_OF_CLASS = {
    **{"Airport": 360, "BareLand": 310, "BaseballField": 220, "Beach": 400, "Bridge": 360, "Center": 260},
    **{"Church": 240, "Commercial": 350, "DenseResidential": 410, "Desert": 300, "Farmland": 370, "Forest": 250},
    **{"Industrial": 390, "Meadow": 280, "MediumResidential": 290, "Mountain": 340, "Park": 350, "Parking": 390},
    **{"Playground": 370, "Pond": 420, "Port": 380, "RailwayStation": 260, "Resort": 290, "River": 410},
    **{"School": 300, "SparseResidential": 300, "Square": 330, "Stadium": 290, "StorageTanks": 360, "Viaduct": 420},
}

AID = SceneBenchmark(
    name="aid",
    title="AID",
    folder="AID",
    images_of_class=IMAGES_OF_CLASS,
    image_size=600,
    batch_size=8,
    usual_fractions=(0.2, 0.5),
)
