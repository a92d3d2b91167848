"""Which files of a folder are data: suffixes of images and sounds, and names that operating systems leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shards.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".j2k", ".webp", ".bmp")
"""Of images and rasters."""

SOUND_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".w64", ".rf64", ".bw64", ".m4a", ".m4b", ".mp4", ".mov", ".aac", ".3gp", ".3ga", ".wma", ".amr"),
    *(".webm", ".weba", ".mka"),
)
"""Of files whose sound is read; the content decides how."""

LEFTOVERS = frozenset(
    ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information")
)
"""Names that operating systems, archives and network drives leave in folders, in lower case."""


def is_leftover(name: str) -> bool:
    """Whether a file or folder of that name is no data: hidden (`._a.jpg`, `.DS_Store`), or one of `LEFTOVERS`."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def data_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files directly in a folder with one of the suffixes (lower case; names may have any case), sorted.

    Raises:
        OSError: the folder is missing or can't be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is_data(entry.name, suffixes) and not entry.is_dir()]
    return [folder / name for name in sorted(names)]


def data_files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """As `data_files`, with those of all folders below, except folders that are leftovers."""
    return sorted(_walk(folder, suffixes))


def other_files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder and all below that are neither data with one of the suffixes nor leftovers, sorted."""
    data = set(data_files_below(folder, suffixes))
    return sorted(path for path in _walk(folder, None) if path not in data)


def data_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder that are not leftovers, sorted.

    Raises:
        OSError: the folder is missing or can't be read.
    """
    return sorted(path for path in folder.iterdir() if not is_leftover(path.name) and path.is_dir())


def _walk(folder: Path, suffixes: tuple[str, ...] | None) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_leftover(name)]
        yield from (Path(place, name) for name in names if _is_data(name, suffixes))


def _is_data(name: str, suffixes: tuple[str, ...] | None) -> bool:
    return not is_leftover(name) and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes)


def image_files(folder: str | Path) -> list[Path]:
    """The images in a folder and all below, by their suffixes, sorted.

    Raises:
        UserError: there is no such folder, or none of its files is an image by its suffix.
    """
    return _files_of_kind(Path(folder), IMAGE_SUFFIXES, "images")


def sound_files(folder: str | Path) -> list[Path]:
    """The recordings in a folder and all below, by their suffixes, sorted.

    Raises:
        UserError: there is no such folder, or none of its files is a recording by its suffix.
    """
    return _files_of_kind(Path(folder), SOUND_SUFFIXES, "sounds")


def _files_of_kind(folder: Path, suffixes: tuple[str, ...], kind: str) -> list[Path]:
    if not folder.is_dir():
        what = f"it is a file; give the folder that holds {kind}" if folder.is_file() else "no such folder"
        raise UserError(f"no {kind} at {folder}: {what}")
    files = data_files_below(folder, suffixes)
    if not files:
        raise UserError(f"no {kind} in {folder}: none of its files ends in {', '.join(suffixes)}")
    return files
