"""A study's folder: `study.json`, the media that it names, and who works in it."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from shards.atomic_files import write_text_atomically
from shards.checksums import file_sha256
from shards.errors import UserError

STUDY_NAME = "study.json"
MEDIA_FOLDER = "media"
ANSWERS_NAME = "answers.sqlite"
REPORT_FOLDER = "report"
LOCK_NAME = ".lock"
STUDY_FORMAT_VERSION = 2

MediaName = Annotated[str, pydantic.Field(pattern=r"^[0-9]+\.(jpg|mp3)$")]
Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Credit:
    """Whom an image or a sound comes from; every text may come from a stranger, and is "" where it is not known."""

    key: str
    title: str
    creator: str
    licence: str
    licence_url: str


@dataclass(frozen=True)
class StudyPair:
    """An image and a sound that raters are asked about.

    Attributes:
        id: what forms and answers call it; tells nothing of its kind.
        kind: "true" or "retrieved".
        rank: place of the sound among all by distance to the image, 1 the nearest.
        distance: between the two embeddings.
        picture: file name within `media/`, a JPEG.
        clip: file name within `media/`, an MP3.
        picture_sha256, clip_sha256: of what these files hold.
        image, sound: whom they come from.
    """

    id: str
    kind: Literal["true", "retrieved"]
    rank: int
    distance: float
    picture: MediaName
    clip: MediaName
    picture_sha256: Sha256
    clip_sha256: Sha256
    image: Credit
    sound: Credit


@dataclass(frozen=True)
class Study:
    """What `study.json` holds.

    Attributes:
        format_version: of the file.
        weights, shards, manifest_sha256, split, crops, seed: what the pairs were drawn with.
        gallery_size: sounds among which the nearest was looked for: all of the split that have a listening clip.
        rule: how retrieved pairs were chosen, in words.
        question: what raters are asked.
        pairs: in an order that tells nothing.
    """

    format_version: int
    weights: str
    shards: str
    manifest_sha256: str
    split: str
    crops: int
    seed: int
    gallery_size: int
    rule: str
    question: str
    pairs: tuple[StudyPair, ...]

    def save(self, folder: Path) -> None:
        """Writes `study.json` beside its place and renames it there."""
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
        write_text_atomically(folder / STUDY_NAME, text + "\n")

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Reads what `save` wrote.

        Raises:
            UserError: no study there, or one of another format version.
        """
        path = folder / STUDY_NAME
        try:
            text = path.read_text(encoding="utf-8")
            version = json.loads(text)["format_version"]
            if version != STUDY_FORMAT_VERSION:
                raise UserError(
                    f"{path}: format_version is {version!r}, this Earshot reads {STUDY_FORMAT_VERSION}; prepare "
                    "another study"
                )
            return pydantic.TypeAdapter(cls).validate_json(text)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"no study at {folder} ({reason}); make one with 'python retrieval/run.py study prepare'"
            ) from error

    @property
    def identity(self) -> str:
        """A checksum by which answers know the study that they belong to."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def version(self) -> str:
        """The start of the identity: tells apart what browsers keep of several studies."""
        return self.identity[:12]

    @property
    def media(self) -> dict[str, str]:
        """File name within `media/` → SHA-256 of the file."""
        pictures = {pair.picture: pair.picture_sha256 for pair in self.pairs}
        return pictures | {pair.clip: pair.clip_sha256 for pair in self.pairs}

    def check_media(self, folder: Path) -> None:
        """Makes sure that raters are shown, or were shown, what the study was prepared with.

        Raises:
            UserError: a picture or a clip is missing or has changed.
        """
        for name, sha256 in self.media.items():
            path = folder / MEDIA_FOLDER / name
            try:
                found = file_sha256(path)
            except OSError as error:
                raise UserError(f"{path} can't be read ({error.strerror}); put it back as it was prepared") from error
            if found != sha256:
                raise UserError(
                    f"{path} has changed: its SHA-256 must be {sha256[:12]}…, as {STUDY_NAME} says, and is "
                    f"{found[:12]}…; put it back as it was prepared"
                )


@contextmanager
def at_work_in(folder: Path, *, alone: bool) -> Iterator[None]:
    """Lets several servers work in a folder, but nothing beside a command that prepares it anew.

    Reports need no lock: what has answers is never prepared anew.

    Raises:
        UserError: others are at work there, or it can't be written to.
    """
    try:
        lock = (folder / LOCK_NAME).open("a+")
    except OSError as error:
        raise UserError(
            f"{folder} can't be written to ({error.strerror}), and answers are kept in it; copy it to where it can be"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = "the study in it is being served" if alone else "a study is being prepared in it"
            raise UserError(f"{folder} is in use: {other}; wait for the end of that, or name another folder") from error
        yield
