"""The protocol `geoclap`: split and metric of GeoCLAP (Khanal et al., BMVC 2023, arXiv 2309.10667, and their code)."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.protocols.corpus_rows import CorpusRow, shuffled
from retrieval.protocols.cosine import CosineProtocol
from retrieval.protocols.published import Published, PublishedScores

MIN_SAMPLE_RATE_HZ = 16_000
SEED = 42


class GeoClap(CosineProtocol):
    """Pairs at random: 70 % training, 10 % validation, 20 % test; cosine similarity, rank < k."""

    name = "geoclap"
    description = (
        "As in GeoCLAP: recordings of at least 16 kHz, split at random 70:10:20; ranks by cosine similarity, tied "
        "items share their average rank; recall@k counts ranks below k."
    )
    published = Published(
        "GeoCLAP (Khanal et al., 2023)",
        {"train": 35_554, "val": 5_079, "test": 10_159},
        (
            PublishedScores(
                "GeoCLAP",
                "sound_to_image",
                {"recall_at_100": 0.450},
                "published as image-to-sound; the public code ranks the images for each sound under that name",
            ),
        ),
    )

    def split(self, rows: Sequence[CorpusRow]) -> list[str | None]:
        """Rows of at least 16 kHz in pandas' random order of seed 42, cut at 70 and 80 %; the others have no split."""
        split_of = dict(random_split(rows))
        return [split_of.get(number) for number in range(len(rows))]


def random_split(rows: Sequence[CorpusRow]) -> list[tuple[int, str]]:
    """(number of a row, its split), in the order training, validation, test; rows that are left out are missing."""
    kept = [
        number
        for number, row in enumerate(rows)
        if not row.is_left_out and row.number("mp3samplerate") >= MIN_SAMPLE_RATE_HZ
    ]
    order = shuffled(kept, SEED)
    first, second = int(0.70 * len(order)), int(0.8 * len(order))
    return [
        (number, "train" if place < first else "val" if place < second else "test")
        for place, number in enumerate(order)
    ]
