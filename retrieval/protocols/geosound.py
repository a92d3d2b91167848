"""The protocol `geosound`: split and metric of PSM's data set GeoSound (Khanal et al., 2024, and their code)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from retrieval.protocols.corpus_rows import CorpusRow, sample, shuffled
from retrieval.protocols.held_out_cells import split_by_cells
from retrieval.protocols.psm import Psm
from retrieval.protocols.published import Published

HELD_OUT_SHARE = 0.10
SEED = 42
SIZES = {"val": 5_000, "test": 10_000}
"""Maximum number of pairs of validation and test."""
FILLING_SOURCE = "iNat"
"""Of this source, more pairs are taken if others have too few."""


class GeoSound(Psm):
    """Cells of 1 degree, of which 10 % of those with at least 25 pairs are held out; rank < 0.1 n.

    Validation and test hold the sources (column `source`; a table without it has one source) in the shares that they
    have in training, at most 5,000 and 10,000 pairs.
    """

    name = "geosound"
    description = (
        "As in PSM on GeoSound: 10 % of the cells of 1° with at least 25 recordings are held out, up to 5,000 pairs "
        "for validation and 10,000 for test in the shares that the sources have in training; ranks by cosine "
        "similarity, tied items share their average rank; recall counts ranks below k, and recall@10 % ranks "
        "below a tenth of the gallery, not rounded."
    )
    published = Published("PSM (Khanal et al., 2024), GeoSound", {"val": 4_976, "test": 9_931})

    def split(self, rows: Sequence[CorpusRow]) -> list[str | None]:
        """By cells, in pandas' random order of seed 42; pairs that validation and test don't take have no split."""
        order = [number for number in shuffled(range(len(rows)), SEED) if not rows[number].is_left_out]
        cells = [self.cell_name(*degree_cell(*rows[number].known_place())) for number in order]
        members: dict[str, list[int]] = defaultdict(list)
        for number, split in zip(order, split_by_cells(cells, HELD_OUT_SHARE, SEED), strict=True):
            members[split].append(number)
        sources = [row.columns.get("source", "") for row in rows]
        for split, size in SIZES.items():
            members[split] = _like_training(members[split], members["train"], sources, size)
        split_of = {number: split for split, numbers in members.items() for number in numbers}
        return [split_of.get(number) for number in range(len(rows))]


def degree_cell(longitude: float, latitude: float) -> tuple[int, int]:
    """Band and column of 1 degree."""
    return int(latitude + 90), int(longitude + 180)


def _like_training(numbers: list[int], training: list[int], sources: list[str], size: int) -> list[int]:
    """Up to `size` rows in the shares that sources have in training, rounded down."""
    shares = Counter(sources[number] for number in training)
    of_source = {source: [number for number in numbers if sources[number] == source] for source in shares}
    counts = {
        source: min(int(count / len(training) * size), len(of_source[source])) for source, count in shares.items()
    }
    if FILLING_SOURCE in counts:
        wanted = counts[FILLING_SOURCE] + max(0, size - sum(counts.values()))
        counts[FILLING_SOURCE] = min(wanted, len(of_source[FILLING_SOURCE]))
    return [number for source in shares for number in sample(of_source[source], counts[source], SEED)]
