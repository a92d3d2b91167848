"""The verbs of `collect`."""

from __future__ import annotations

from shards.command_line.verbs import Verb, Verbs

_OPTIONS, _COMMANDS = "shards.collecting.options", "shards.collecting.commands"
_DRY_RUNS = "shards.collecting.dry_runs"

COLLECT = Verbs(
    "Collects a corpus from its sources: sounds, an image for each place, cleaning, and scenes by ADVANCE's rules.",
    {
        "aporee": Verb(f"{_OPTIONS}:AporeeOptions", f"{_COMMANDS}:run_aporee", dry_run=f"{_DRY_RUNS}:dry_run_aporee"),
        "sounds": Verb(
            f"{_OPTIONS}:SoundTableOptions", f"{_COMMANDS}:run_sounds", dry_run=f"{_DRY_RUNS}:dry_run_sounds"
        ),
        "tiles": Verb(
            "shards.collecting.tiles_options:TilesOptions",
            f"{_COMMANDS}:run_tiles",
            dry_run=f"{_DRY_RUNS}:dry_run_tiles",
        ),
        "clean": Verb(f"{_OPTIONS}:CleanOptions", f"{_COMMANDS}:run_clean", positional=True),
        "advance": Verb(
            "shards.collecting.advance.options:AdvanceOptions",
            "shards.collecting.advance.command:run_advance",
            dry_run="shards.collecting.advance.dry_run:dry_run_advance",
        ),
    },
)
