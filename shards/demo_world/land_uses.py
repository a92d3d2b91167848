"""What the land of the demo world is used for, and what its scenes are called."""

from __future__ import annotations

LAND_USES = ("sea", "river", "town", "village", "industry", "forest", "farmland", "park")

SCENES = {"sea": "shore"} | {land_use: land_use for land_use in LAND_USES[1:]}
"""The scene label of a place by its largest land use."""
