"""The protocol `psm-corrected`: as `psm`, but no two cells share a number."""

from __future__ import annotations

from collections.abc import Hashable

from retrieval.protocols.psm import Psm
from retrieval.protocols.published import Published


class PsmCorrected(Psm):
    """PSM's protocol with cells told apart, so that no far cells are held out or kept together."""

    name = "psm-corrected"
    description = f"{Psm.description} Unlike in PSM's code, cells of different latitudes never share a number."
    published: Published | None = None

    @staticmethod
    def cell_name(band: int, column: int) -> Hashable:
        """Band and column."""
        return band, column
