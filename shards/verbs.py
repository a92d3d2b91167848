"""The verbs of shard sets: collect, build, adopt, verify, export, info."""

from __future__ import annotations

from shards.collecting.verbs import COLLECT
from shards.command_line.verbs import Verb, Verbs

_COMMANDS = "shards.building.commands"

SHARDS = Verbs(
    "Collects corpora, and builds, adopts, verifies, describes and exports shard sets.",
    {
        "collect": COLLECT,
        "build": Verb(
            "shards.building.planning:BuildOptions",
            f"{_COMMANDS}:run_build",
            dry_run="shards.building.dry_run:dry_run_build",
        ),
        "adopt": Verb(
            "shards.building.adopting:AdoptOptions",
            "shards.building.adopting:run_adopt",
            dry_run="shards.building.dry_run:dry_run_adopt",
        ),
        "verify": Verb(f"{_COMMANDS}:VerifyOptions", f"{_COMMANDS}:run_verify", positional=True),
        "export": Verb(
            "shards.exporting.options:ExportOptions",
            "shards.exporting.export:run_export",
            dry_run="shards.exporting.dry_run:dry_run_export",
        ),
        "info": Verb(
            f"{_COMMANDS}:InfoOptions",
            f"{_COMMANDS}:run_info",
            positional=True,
            dry_run="shards.building.dry_run:dry_run_info",
        ),
    },
)
