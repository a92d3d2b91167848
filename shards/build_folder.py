"""The folder that a build writes: whose it is, which build was begun there, and what is missing of a finished one."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import UserError
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.packing import WORK_FOLDER
from shards.planning import BuildPlan, describe_differences
from shards.shard_index import index_path
from shards.writing import PARTIAL_SUFFIX, PREVIEWS_FOLDER, write_text_atomically


def check_folder(out: Path) -> None:
    """Refuses a folder that holds anything but a shard set or the beginning of one.

    Raises:
        UserError: it does, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.is_dir() and not is_finished(out) and not (out / WORK_FOLDER).is_dir() and any(out.iterdir()):
        raise UserError(f"--out {out} is not empty and is no shard set; give a new folder")


def is_finished(out: Path) -> bool:
    """Whether a build has ended there."""
    return (out / MANIFEST_NAME).is_file()


@contextmanager
def only_build_of(out: Path) -> Iterator[None]:
    """Keeps a second build out of the folder; the lock ends with the process, however that ends.

    Raises:
        UserError: another build holds it.
    """
    (out / WORK_FOLDER).mkdir(exist_ok=True)
    with (out / WORK_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another build is writing to --out {out}; wait for its end or give another --out"
            ) from error
        yield


def keep_plan(plan: BuildPlan, out: Path) -> None:
    """Keeps the plan in the folder, so that no other is mixed with it.

    Raises:
        UserError: another plan was begun there.
    """
    path = out / WORK_FOLDER / "plan.json"
    record = {"source": plan.source, "build": plan.record}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        refuse_another_plan(out, before["source"], before["build"], plan, "was begun")
    write_text_atomically(path, json.dumps(record, indent=1))


def clear_partial_files(out: Path) -> None:
    """Removes what a killed build left half written."""
    for folder in (out, out / PREVIEWS_FOLDER, out / WORK_FOLDER):
        for partial in folder.glob(f".*{PARTIAL_SUFFIX}"):
            partial.unlink(missing_ok=True)


def refuse_another_plan(out: Path, source: str, record: dict[str, object], plan: BuildPlan, was: str) -> None:
    """Compares the plan of the folder with the one at hand.

    Raises:
        UserError: they differ; says in what.
    """
    before, now = {"source": source, **record}, {"source": plan.source, **plan.record}
    if before != now:
        raise UserError(
            f"--out {out} {was} otherwise: {describe_differences(before, now)}; give a new --out, or remove the folder"
        )


def damaged_shards(out: Path, manifest: Manifest) -> dict[str, str]:
    """What is wrong with the files of a finished set, as far as names and sizes tell: shard name → words."""
    return {entry.name: words for entry in manifest.shards if (words := _damage(out, entry))}


def _damage(out: Path, entry: ShardEntry) -> str:
    path = out / entry.name
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size:,} bytes in place of {entry.bytes:,}"
    return "" if index_path(path).is_file() else "has no index"
