"""All families of inputs."""

from __future__ import annotations

from fuzz import collecting_families, foreign_families, map_families, model_families, shard_families

FAMILIES = [
    *shard_families.FAMILIES,
    *foreign_families.FAMILIES,
    *collecting_families.FAMILIES,
    *map_families.FAMILIES,
    *model_families.FAMILIES,
]
assert len({family.name for family in FAMILIES}) == len(FAMILIES)
