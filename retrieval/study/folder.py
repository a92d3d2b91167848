"""A study's folder: `study.json`, its media files, and the lock."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from shards.atomic_files import write_text_atomically
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.locks import lock
from shards.records import Count, Finite, Sha256, read_json_as, record_as, shown

STUDY_NAME = "study.json"
MEDIA_FOLDER = "media"
ANSWERS_NAME = "answers.sqlite"
REPORT_FOLDER = "report"
LOCK_NAME = ".lock"
STUDY_FORMAT_VERSION = 2

MediaName = Annotated[str, pydantic.Field(pattern=r"^[0-9]+\.(jpg|mp3)$")]


@dataclass(frozen=True)
class Credit:
    """Credits of an image or sound; all texts are untrusted, and "" if unknown."""

    key: str
    title: str
    creator: str
    licence: str
    licence_url: str


@dataclass(frozen=True)
class StudyPair:
    """An image and a sound that raters judge.

    Attributes:
        id: identifier in forms and answers; does not reveal the kind.
        kind: "true" or "retrieved".
        rank: rank of the sound by distance to the image, 1 for the nearest.
        distance: distance between the two embeddings.
        picture: file name of a JPEG in `media/`.
        clip: file name of an MP3 in `media/`.
        picture_sha256, clip_sha256: checksums of these files.
        image, sound: their credits.
    """

    id: str
    kind: Literal["true", "retrieved"]
    rank: Count
    distance: Finite
    picture: MediaName
    clip: MediaName
    picture_sha256: Sha256
    clip_sha256: Sha256
    image: Credit
    sound: Credit


@dataclass(frozen=True)
class Study:
    """The contents of `study.json`.

    Attributes:
        format_version: version of the file format.
        weights, shards, manifest_sha256, split, crops, seed: the settings with which the pairs were drawn.
        gallery_size: number of searched sounds: all of the split with a listening clip.
        rule: description of how retrieved pairs were chosen.
        question: the question for the raters.
        pairs: in random order.
    """

    format_version: int
    weights: str
    shards: str
    manifest_sha256: str
    split: str
    crops: Count
    seed: Count
    gallery_size: Count
    rule: str
    question: str
    pairs: tuple[StudyPair, ...]

    def save(self, folder: Path) -> None:
        """Writes `study.json` atomically."""
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
        write_text_atomically(folder / STUDY_NAME, text + "\n")

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Reads a study that `save` wrote.

        Raises:
            UserError: there is no study, or it has another format version.
        """
        path, remedy = folder / STUDY_NAME, "make one with 'python retrieval/run.py study prepare'"
        if not path.exists():
            raise UserError(f"no study at {folder}: it has no {STUDY_NAME}; {remedy}")
        record = read_json_as(dict[str, Any], path, remedy)
        version = record.get("format_version")
        if version != STUDY_FORMAT_VERSION:
            raise UserError(
                f"{path}: format_version is {shown(version)}, this Earshot reads {STUDY_FORMAT_VERSION}; prepare "
                "another study"
            )
        return record_as(cls, record, str(path), remedy)

    @property
    def identity(self) -> str:
        """A checksum that links answers to their study."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def version(self) -> str:
        """The start of the identity; separates cookies and caches of several studies in a browser."""
        return self.identity[:12]

    @property
    def media(self) -> dict[str, str]:
        """File name within `media/` → SHA-256 of the file."""
        pictures = {pair.picture: pair.picture_sha256 for pair in self.pairs}
        return pictures | {pair.clip: pair.clip_sha256 for pair in self.pairs}

    def check_media(self, folder: Path) -> None:
        """Checks that images and clips are those with which the study was prepared.

        Raises:
            UserError: an image or clip is missing or has changed.
        """
        for name, sha256 in self.media.items():
            path = folder / MEDIA_FOLDER / name
            try:
                found = file_sha256(path)
            except OSError as error:
                raise UserError(f"{path} can't be read ({error.strerror}); restore the original file") from error
            if found != sha256:
                raise UserError(
                    f"{path} has changed: its SHA-256 is {found[:12]}…, but {STUDY_NAME} says {sha256[:12]}…; restore "
                    "the original file"
                )


@contextmanager
def at_work_in(folder: Path, *, alone: bool) -> Iterator[None]:
    """Locks a study's folder: shared for servers, exclusive for preparing a study.

    Reports need no lock, because a study with answers is never replaced.

    Raises:
        UserError: the folder is locked, or can't be written to.
    """
    try:
        file = (folder / LOCK_NAME).open("a+")
    except OSError as error:
        raise UserError(
            f"{folder} can't be written to ({error.strerror}), but answers are stored in it; copy it somewhere writable"
        ) from error
    with file:
        try:
            lock(file, shared=not alone)
        except BlockingIOError as error:
            other = "the study in it is being served" if alone else "a study is being prepared in it"
            raise UserError(f"{folder} is in use: {other}; wait until that ends, or give another folder") from error
        yield
