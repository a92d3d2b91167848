"""The folder that a foreign set is unpacked to: file by file, resumable, in the layout of recordings with a table."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shards.atomic_files import write_json, write_text_atomically
from shards.errors import UserError
from shards.locks import lock
from shards.loudness import note
from shards.progress import ProgressLine
from shards.records import DamagedRecord, json_as, read_json
from shards.unpacking.samples import Content, ForeignSample, PackedFile

PLAN_NAME, LOCK_NAME, ROWS_FOLDER = "plan.json", "lock", "rows"
IMAGES_FOLDER, SOUNDS_FOLDER = "images", "audio"
SAMPLES_BETWEEN_LINES = 50

Read = Callable[[PackedFile], Iterator[ForeignSample]]
"""Reads the samples of a file."""


@dataclass(frozen=True)
class Row:
    """A sample that was unpacked.

    Attributes:
        key: as the set has it.
        image, sound: paths of its files in the folder; "" if it has none.
        fields: its metadata as text.
        reason, detail: why it is no pair, "" if nothing is known against it.
    """

    key: str
    image: str = ""
    sound: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


Judge = Callable[[PackedFile, Sequence[Row]], None]
"""Raises a UserError if the rows of the first file show that the set can't be used."""


class Unpacked:
    """A folder of unpacked samples. All names in it are Earshot's own: untrusted ones could lead out of it.

    Args:
        folder: made if it is missing.
        is_kept: whether it stays when the shard set is finished, for messages.
    """

    def __init__(self, folder: Path, *, is_kept: bool = False) -> None:
        self.folder, self._is_kept = folder, is_kept

    def unpack(
        self, files: Sequence[PackedFile], plan: dict[str, Any], read: Read, judge: Judge, limit: int | None
    ) -> list[list[Row]]:
        """Unpacks what is not unpacked yet. Several processes may call this at once; one works, the others wait.

        Args:
            files: those of the set, in order.
            plan: everything else that decides what is unpacked, as plain JSON values; another plan starts over.
            read: reads the samples of a file.
            judge: judges the rows of the first file that has any, before the others are read.
            limit: number of samples, None for all.

        Returns:
            The rows of each file; fewer than there are files if the limit was reached.

        Raises:
            UserError: the folder holds something else, the disk is too small, or a file can't be read.
        """
        self._check_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        whole_plan = {**plan, "limit": limit, "files": [[file.shown, file.bytes, file.split] for file in files]}
        with self._locked():
            self._begin(json.loads(json.dumps(whole_plan)))
            missing = [number for number in range(len(files)) if not self._rows_file(number).is_file()]
            if missing and limit is None:
                self._say_space([files[number] for number in missing], len(files))
            return self._unpack(files, read, judge, limit)

    def remove(self) -> None:
        """Removes the folder, if it is one of unpacked samples."""
        if (self.folder / PLAN_NAME).is_file():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _unpack(self, files: Sequence[PackedFile], read: Read, judge: Judge, limit: int | None) -> list[list[Row]]:
        found: list[list[Row]] = []
        num_rows = 0
        with ProgressLine("unpacking files", len(files), enabled=not self._is_complete(len(files))) as progress:
            for number, file in enumerate(files):
                if limit is not None and num_rows >= limit:
                    break
                rows = self._kept_rows(number)
                if rows is None:
                    left = None if limit is None else limit - num_rows
                    rows = self._unpack_one(number, file, read, left, progress)
                    if rows and not num_rows:
                        judge(file, rows)
                    self._keep_rows(number, rows)
                num_rows += len(rows)
                found.append(rows)
                progress.advance(detail=f"{num_rows:,} samples")
        return found

    def _unpack_one(
        self, number: int, file: PackedFile, read: Read, limit: int | None, progress: ProgressLine
    ) -> list[Row]:
        places = [self.folder / kind / f"{number:06d}" for kind in (IMAGES_FOLDER, SOUNDS_FOLDER)]
        for place in places:
            shutil.rmtree(place, ignore_errors=True)  # left by a killed process
            place.mkdir(parents=True)
        rows: list[Row] = []
        numbers: dict[str, int] = {}
        for count, sample in enumerate(read(file)):
            if count % SAMPLES_BETWEEN_LINES == 0:
                progress.advance(0, f"{file.shown}: {count:,} samples")
            image, sound = (
                "" if content is None else self._store(place / f"{count:07d}{content.suffix}", content)
                for place, content in zip(places, (sample.image, sample.sound), strict=True)
            )
            row = Row(sample.key, image, sound, sample.fields, sample.reason, sample.detail)
            earlier = numbers.get(row.key)
            if earlier is not None and (joined := _joined(rows[earlier], row)):
                rows[earlier] = joined
                continue
            if len(rows) == limit:
                break
            numbers[row.key] = len(rows)
            rows.append(row)
        return rows

    def _store(self, path: Path, content: Content) -> str:
        if isinstance(content.data, bytes):
            path.write_bytes(content.data)
        else:
            try:
                os.link(content.data, path)
            except OSError:  # another disk, or one without hard links
                shutil.copyfile(content.data, path)
        return path.relative_to(self.folder).as_posix()

    def _rows_file(self, number: int) -> Path:
        return self.folder / ROWS_FOLDER / f"{number:06d}.jsonl"

    def _is_complete(self, num_files: int) -> bool:
        return all(self._rows_file(number).is_file() for number in range(num_files))

    def _kept_rows(self, number: int) -> list[Row] | None:
        path = self._rows_file(number)
        if not path.is_file():
            return None
        with path.open(encoding="utf-8") as lines:
            return [json_as(Row, line, str(path), "remove the folder, and run the command again") for line in lines]

    def _keep_rows(self, number: int, rows: Sequence[Row]) -> None:
        self._rows_file(number).parent.mkdir(exist_ok=True)
        lines = (json.dumps(asdict(row), ensure_ascii=True) for row in rows)
        write_text_atomically(self._rows_file(number), "".join(f"{line}\n" for line in lines))

    def _check_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file, and the set would be unpacked there; give another --out")
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        # Those of a process that begins, beside its lock.
        begun = {name for name in names if name.startswith(f".{PLAN_NAME}.")}
        if names - begun - {LOCK_NAME} and PLAN_NAME not in names:
            raise UserError(f"{self.folder} is not empty, and the set would be unpacked there; give another --out")

    def _begin(self, plan: dict[str, Any]) -> None:
        """Keeps the plan; what was unpacked by another one is removed."""
        path = self.folder / PLAN_NAME
        with suppress(DamagedRecord):
            if path.is_file() and read_json(path) == plan:
                return
        if (self.folder / ROWS_FOLDER).exists():
            note(f"note: {self.folder} was unpacked with other options or files; again")
        for name in (ROWS_FOLDER, IMAGES_FOLDER, SOUNDS_FOLDER):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        write_json(path, plan)

    def _say_space(self, files: Sequence[PackedFile], num_files: int) -> None:
        """Says what is unpacked where; raises if the disk is too small for it."""
        sizes = [file.bytes for file in files]
        needed, free = sum(size or 0 for size in sizes), shutil.disk_usage(self.folder).free
        size = f"{needed / 1e6:,.1f} MB" if None not in sizes else "of unknown size"
        done = f" of {num_files:,}" if len(files) < num_files else ""
        until = "kept" if self._is_kept else "removed when the set is finished"
        note(
            f"note: {len(files):,}{done} files, {size}, are unpacked to {self.folder}, which is {until} "
            f"({free / 1e9:,.1f} GB free)"
        )
        if needed > free:
            raise UserError(
                f"{self.folder} has {free / 1e6:,.1f} MB free, and unpacking needs about {needed / 1e6:,.1f} MB beside "
                "the shards; give an --out on a larger disk, or fewer files"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / LOCK_NAME).open("a+") as file:
            try:
                lock(file)
            except BlockingIOError:
                note(f"note: another process unpacks to {self.folder}; waiting for it")
                lock(file, wait=True)
            yield


def _joined(first: Row, second: Row) -> Row | None:
    """One row of two with the same key, if one has only the image and the other only the sound."""
    if (first.image and second.image) or (first.sound and second.sound):
        return None
    return Row(
        first.key,
        first.image or second.image,
        first.sound or second.sound,
        {**first.fields, **second.fields},
        first.reason or second.reason,
        first.detail or second.detail,
    )
