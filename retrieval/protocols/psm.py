"""The protocol `psm`: split and metric of PSM on SoundingEarth (Khanal et al., 2024, arXiv 2408.07050, and their code).

The published number of a cell is 360 · band + column. A band has up to 4,000 columns, so that cells of different bands
share a number and are held out together; the protocol `psm-corrected` tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from retrieval.protocols.corpus_rows import CorpusRow, shuffled
from retrieval.protocols.cosine import CosineProtocol
from retrieval.protocols.geoclap import random_split
from retrieval.protocols.held_out_cells import split_by_cells
from retrieval.protocols.published import Published

CELL_KM = 10.0
KM_PER_DEGREE = 111.0
HELD_OUT_SHARE = 0.35
SEED = 42


class Psm(CosineProtocol):
    """Cells of about 10 km, of which 35 % of those with at least 25 pairs are held out; rank < 0.1 n."""

    name = "psm"
    description = (
        "As in PSM on SoundingEarth: 35 % of the cells of about 10 km with at least 25 recordings are held out; ranks "
        "by cosine similarity, tied items share their average rank; recall counts ranks below k, and recall@10 % ranks "
        "below a tenth of the gallery, not rounded."
    )
    published: Published | None = Published(
        "PSM (Khanal et al., 2024), SoundingEarth", {"train": 41_469, "val": 3_242, "test": 5_801}
    )

    def ten_percent(self, gallery_size: int) -> float:
        """A tenth of the gallery, not rounded."""
        return 10 / 100 * gallery_size

    def split(self, rows: Sequence[CorpusRow]) -> list[str | None]:
        """GeoCLAP's rows in the order of its splits, shuffled again, by cells; the others have no split."""
        order = shuffled([number for number, _ in random_split(rows)], SEED)
        cells = [self.cell_name(*cell_of(*rows[number].known_place())) for number in order]
        split_of = dict(zip(order, split_by_cells(cells, HELD_OUT_SHARE, SEED), strict=True))
        return [split_of.get(number) for number in range(len(rows))]

    @staticmethod
    def cell_name(band: int, column: int) -> Hashable:
        """The published number of a cell, which cells of different bands share."""
        return band * 360 + column


def cell_of(longitude: float, latitude: float) -> tuple[int, int]:
    """Band and column of a place: 10/111 degrees of latitude, and of longitude 10 / (111 cos latitude).

    As published, the width of a column is that at the latitude of the place itself, not of its band.
    """
    km_per_degree_east = KM_PER_DEGREE * math.cos(math.radians(latitude))
    return (
        int((latitude + 90) // (CELL_KM / KM_PER_DEGREE)),
        int((longitude + 180) // (CELL_KM / km_per_degree_east)),
    )
