"""Land uses and scene labels of the demo world."""

from __future__ import annotations

LAND_USES = ("sea", "river", "town", "village", "industry", "forest", "farmland", "park")

SCENES = {"sea": "shore"} | {land_use: land_use for land_use in LAND_USES[1:]}
"""The scene label of a place by its largest land use."""
