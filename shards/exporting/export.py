"""Exports a shard set: checks it against its manifest, writes shard by shard, and resumes where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.atomic_files import write_json
from shards.checksums import FileChecksum, file_checksum
from shards.errors import UserError
from shards.exporting import FORMATS
from shards.exporting.options import ExportOptions
from shards.exporting.writer import Contents, Writer
from shards.loudness import note
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.progress import ProgressLine
from shards.records import read_json
from shards.schema import PREVIEWS_FOLDER
from shards.streaming.reading import ShardSet, StoredSample

WORK_FOLDER, PLAN_NAME = ".export", "plan.json"
RECORD_NAME = "export.json"
REMEDY = "give a new --out, or remove this one"


def run_export(options: ExportOptions) -> None:
    """Exports a set, and prints what was written.

    Raises:
        UserError: the set is damaged, a split is empty, or --out holds something else.
    """
    shard_set = ShardSet.open(options.shards)
    record = plan_of(options, shard_set.manifest)
    check_folder(options.out, record)
    if (options.out / RECORD_NAME).is_file():
        print(f"{options.out} is exported already: nothing to do")
        return
    _begin(options.out, record)
    contents, rows = _contents(shard_set, record["splits"])
    writer: Writer = FORMATS.load(options.format)(options.out, contents)
    _check_space(options, contents, writer)
    with ProgressLine("exporting samples", sum(contents.splits.values())) as progress:
        first = dict.fromkeys(contents.splits, 0)
        for shard in contents.shards:
            if not writer.has(shard):
                _check_intact(shard_set.folder, shard)
                writer.write(shard, _samples(shard_set, shard, first[shard.split]))
            first[shard.split] += shard.num_samples
            progress.advance(shard.num_samples)
    writer.finish(rows)
    write_json(options.out / RECORD_NAME, record)
    shutil.rmtree(options.out / WORK_FOLDER, ignore_errors=True)
    counts = ", ".join(f"{split} {count:,}" for split, count in contents.splits.items())
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(
        f"{options.out}: {sum(contents.splits.values()):,} samples ({counts}) as {options.format}, {size / 1e6:,.1f} MB"
    )


def plan_of(options: ExportOptions, manifest: Manifest) -> dict[str, Any]:
    """What is exported from which set, as plain JSON values."""
    splits = [split for split in manifest.splits if not options.split or split in options.split]
    if missing := [split for split in options.split if not manifest.num_samples(split)]:
        have = ", ".join(manifest.splits)
        raise UserError(f"--split {missing[0]}: {options.shards} has no samples of it; choose one of: {have}")
    checksum = hashlib.sha256(json.dumps([[shard.name, shard.sha256] for shard in manifest.shards]).encode())
    return {
        "format": options.format,
        "splits": splits,
        "samples": {split: manifest.num_samples(split) for split in splits},
        "source": manifest.source,
        "licence": manifest.licence,
        "shards_sha256": checksum.hexdigest(),
    }


def check_folder(out: Path, record: dict[str, Any]) -> None:
    """Checks that a folder is new or empty, or holds this export, finished or not.

    Args:
        out: the folder.
        record: from `plan_of`.

    Raises:
        UserError: it holds something else.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    for kept in (out / RECORD_NAME, out / WORK_FOLDER / PLAN_NAME):
        if kept.is_file():
            _refuse_another(out, read_json(kept, REMEDY), record)
            return
    if out.is_dir() and {path.name for path in out.iterdir()} - {WORK_FOLDER}:
        raise UserError(f"--out {out} is not empty and is no export; give a new folder")


def _begin(out: Path, record: dict[str, Any]) -> None:
    """Makes the folder; what an interrupted export of the same set left there is kept."""
    plan = out / WORK_FOLDER / PLAN_NAME
    if plan.is_file():
        note(f"resuming the export to {out}")
        return
    plan.parent.mkdir(parents=True, exist_ok=True)
    write_json(plan, record)


def _refuse_another(out: Path, before: Any, now: dict[str, Any]) -> None:
    if before != now:
        names = [name for name in now if not isinstance(before, dict) or before.get(name) != now[name]]
        raise UserError(f"--out {out} is an export of another set or with other options ({', '.join(names)}); {REMEDY}")


def _contents(shard_set: ShardSet, splits: list[str]) -> tuple[Contents, list[tuple[str, dict[str, Any]]]]:
    """What is exported, and (split, metadata) of each sample.

    Raises:
        UserError: a shard is missing or has another size.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    types: dict[str, set[str]] = {}
    for split in splits:
        shard_set.check_files(split)
        for sample in shard_set.samples(split):
            metadata = {name: value for name, value in sample.metadata().items() if value is not None}
            rows.append((split, {**metadata, "key": sample.key}))
            for name, value in metadata.items():
                types.setdefault(name, set()).add(_type_of(value))
    manifest = shard_set.manifest
    taken = {"key", "split", "image", "spectrogram", "preview", "mp3name"}
    columns = {name: _common(found) for name, found in sorted(types.items()) if name not in taken}
    shards = tuple(shard for shard in manifest.shards if shard.split in splits)
    has_previews = all(shard.previews is not None for shard in shards) and (shard_set.folder / PREVIEWS_FOLDER).is_dir()
    return Contents(manifest, shards, columns, has_previews), rows


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if abs(value) < 2**63 else "double"
    return "double" if isinstance(value, float) else "string" if isinstance(value, str) else "json"


def _common(types: set[str]) -> str:
    """The type of a column whose values have these types."""
    if len(types) == 1:
        return next(iter(types))
    return "double" if types == {"int64", "double"} else "json"


def _samples(shard_set: ShardSet, shard: ShardEntry, first: int) -> Iterator[StoredSample]:
    for number in range(shard.num_samples):
        yield shard_set.sample(shard.split, first + number)


def _check_space(options: ExportOptions, contents: Contents, writer: Writer) -> None:
    needed = sum(shard.bytes for shard in contents.shards if not writer.has(shard))
    free = shutil.disk_usage(options.out).free
    if needed > free:
        raise UserError(
            f"--out {options.out} has {free / 1e6:,.1f} MB free, and the export needs about {needed / 1e6:,.1f} MB; "
            "give a larger disk, or a --split"
        )


def _check_intact(folder: Path, shard: ShardEntry) -> None:
    """Compares a tar and its clips with the manifest.

    Raises:
        UserError: one differs.
    """
    files = {shard.name: FileChecksum(shard.bytes, shard.sha256)}
    if shard.previews is not None and (folder / PREVIEWS_FOLDER).is_dir():
        files[f"{PREVIEWS_FOLDER}/{shard.name}"] = shard.previews
    for name, stated in files.items():
        path = folder / name
        if not path.is_file() or file_checksum(path) != stated:
            raise UserError(
                f"{path} is not the file that {MANIFEST_NAME} states; see 'python shards/run.py verify', and copy it "
                "again or build the shards again"
            )
