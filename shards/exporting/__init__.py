"""Writes shard sets in formats that other software reads: Parquet, and a folder with a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.registry import Registry

if TYPE_CHECKING:
    from shards.exporting.writer import Writer

FORMATS: Registry[type[Writer]] = Registry(
    "--format",
    {
        "parquet": "shards.exporting.parquet_files:ParquetFiles",
        "folder": "shards.exporting.folder:FolderWithTable",
    },
)
