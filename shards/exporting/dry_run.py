"""`export --dry-run`: opens the set, and prints samples, bytes and outputs; writes nothing."""

from __future__ import annotations

from shards.command_line.dry_runs import check_can_be_written, free_bytes, print_plan, size_of
from shards.errors import UserError
from shards.exporting.export import RECORD_NAME, check_folder, plan_of
from shards.exporting.options import ExportOptions
from shards.streaming.reading import ShardSet

OUTPUTS = {
    "parquet": "Parquet files and a card",
    "folder": "images/, spectrograms/, previews/ and metadata.csv",
}


def dry_run_export(options: ExportOptions) -> None:
    """Prints what `export` would do; shards are looked at, not read.

    Raises:
        UserError: the set is damaged, a split is empty, --out holds something else, or the disk is too small.
    """
    shard_set = ShardSet.open(options.shards)
    record = plan_of(options, shard_set.manifest)
    check_can_be_written(options.out)
    check_folder(options.out, record)
    for split in record["splits"]:
        shard_set.check_files(split)
    needed = sum(shard.bytes for shard in shard_set.manifest.shards if shard.split in record["splits"])
    is_done = (options.out / RECORD_NAME).is_file()
    free = free_bytes(options.out)
    if needed > free and not is_done:
        raise UserError(
            f"--out {options.out} has {size_of(free)} free, and the export needs about {size_of(needed)}; give a "
            "larger disk, or a --split"
        )
    samples = ", ".join(f"{count:,} {split}" for split, count in record["samples"].items())
    print_plan(
        {
            "shards": f"{options.shards}, {samples} samples",
            "there": "a finished export: nothing to do" if is_done else "",
            "writes": f"{options.out}: {OUTPUTS.get(options.format, options.format)}, about {size_of(needed)}; "
            f"{size_of(free)} free",
        }
    )
