"""`collect advance --dry-run`: its checks of tables and folder, its rows and its requests; asks no service."""

from __future__ import annotations

from shards.collecting.advance.building import list_rows
from shards.collecting.advance.command import check_plan, plan_of
from shards.collecting.advance.corrections import read_corrections
from shards.collecting.advance.label_table import read_label_table
from shards.collecting.advance.options import AdvanceOptions
from shards.collecting.advance.results import PAIRS_NAME, ROWS_NAME, SUMMARY_NAME
from shards.collecting.advance.scene_pairs import IMAGES, SOUNDS
from shards.collecting.estimate import shown_bytes, shown_requests
from shards.command_line.dry_runs import check_can_be_written, free_bytes, print_plan
from shards.errors import without_passwords

ENDING = "dry run: tables and options are checked, labels are not looked up; nothing was written"


def dry_run_advance(options: AdvanceOptions) -> None:
    """Prints what `collect advance` would do.

    Raises:
        UserError: a table can't be used, or the folder holds something else.
    """
    table = read_label_table(options.labels)
    corrections = read_corrections(options.corrections)
    check_can_be_written(options.out)
    check_plan(options.out, plan_of(options, table))
    listing = list_rows(options)
    labels = f"extract {options.osm}" if options.osm is not None else ""
    if options.overpass is not None:
        rate = 1 / max(options.overpass_seconds, 1e-3)
        requests = shown_requests(len(listing.pairs), rate)
        labels = f"{without_passwords(options.overpass)}, not asked; at most {requests}, one for each place"
    print_plan(
        {
            "corpus": f"{options.root}, {listing.num_rows:,} rows, {len(listing.pairs):,} of them with both files",
            "labels": labels,
            "corrections": f"{len(corrections):,} rows of {options.corrections}" if options.corrections else "",
            "tiles": f"{options.tile_pixels} pixels, shifted by {options.shift_share:g} of the side for rare classes",
            "there": f"a finished set in {options.out}" if (options.out / SUMMARY_NAME).is_file() else "",
            "writes": f"{options.out}: {IMAGES}/, {SOUNDS}/, {ROWS_NAME}, {PAIRS_NAME}, {SUMMARY_NAME}; "
            f"{shown_bytes(free_bytes(options.out))} free",
        },
        ending=ENDING,
    )
