"""The protocol `spectrum4geo`: GeoCLAP's split, and sound → image retrieval with recall in the usual sense."""

from __future__ import annotations

from retrieval.protocols.expected_recall import ExpectedRecall
from retrieval.protocols.geoclap import GeoClap
from retrieval.protocols.published import Published, PublishedScores


class Spectrum4Geo(ExpectedRecall, GeoClap):
    """GeoCLAP's split of another selection of rows; cosine similarity, rank <= k.

    The published gallery has 20 pairs more than GeoCLAP's, whose authors missed other recordings. How tied items were
    counted is not published; here they count as in protocol `standard`.
    """

    name = "spectrum4geo"
    description = (
        "As in Spectrum4Geo: GeoCLAP's split; ranks by cosine similarity; recall@k is the expectation of rank <= k "
        "over a random order of tied items. Published is sound → image."
    )
    published = Published(
        "Spectrum4Geo",
        {"test": 10_179},
        (
            PublishedScores(
                "Spectrum4Geo",
                "sound_to_image",
                {
                    "recall_at_1": 0.199,
                    "recall_at_5": 0.335,
                    "recall_at_10": 0.405,
                    "recall_at_100": 0.642,
                    "median_rank": 25.0,
                },
            ),
        ),
    )
