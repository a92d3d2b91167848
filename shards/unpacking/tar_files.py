"""The tars of a foreign set: from folders, files, patterns and URLs to a list, each with its size and its split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from shards.data_files import data_files_below, other_files_below
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME
from shards.records import DamagedRecord, read_json
from shards.streaming.downloads import shown_url
from shards.streaming.fetching import COMMAND_SCHEMES, HTTP_SCHEMES
from shards.streaming.locations import is_url
from shards.unpacking.samples import PackedFile
from shards.unpacking.splits_in_names import split_in

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LAST_SUFFIXES = (".tar", ".tgz", ".gz", ".bz2", ".xz")
MOST_FILES = 1_000_000


def find_tars(words: Sequence[str]) -> list[PackedFile]:
    """The tars that the user names.

    Args:
        words: folders (of which all tars below are taken, sorted), files, names with braces such as
            `train-{000000..000009}.tar`, and URLs.

    Raises:
        UserError: nothing is there, a word names a set of Earshot, or a URL has another scheme.
    """
    names = [name for word in words for name in _named_by(word)]
    for folder in dict.fromkeys(local_folders([*words, *names])):
        _refuse_own(folder)
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{shown_url(doubled[0])} is given twice; give each tar once")
    shown = _shown([shown_url(name) for name in names])
    return [
        PackedFile(name, short, split_in(shown_url(name)), None if is_url(name) else os.path.getsize(name))
        for name, short in zip(names, shown, strict=True)
    ]


def local_folders(words: Sequence[str]) -> list[Path]:
    """The folders that were named, or that hold the files that were."""
    places = [Path(word) for word in words if not is_url(word)]
    return [place if place.is_dir() else place.parent for place in places]


def other_tables(words: Sequence[str]) -> list[str]:
    """Names of the Parquet files beside tars, as img2dataset writes them."""
    folders = [folder for folder in local_folders(words) if folder.is_dir()]
    return [path.name for folder in folders for path in data_files_below(folder, (".parquet",))]


def _named_by(word: str) -> list[str]:
    if is_url(word):
        return [_checked_url(url) for url in _expanded(word)]
    if Path(word).is_dir():
        return _in_folder(Path(word))
    names = [word] if Path(word).is_file() else _expanded(word)
    missing = [name for name in names if not Path(name).is_file()]
    if missing:
        others = f" ({len(missing)} of the {len(names)} that {word} means are missing)" if len(names) > 1 else ""
        raise UserError(f"{missing[0]}: no such file{others}; give tars, a folder of tars, a pattern, or URLs")
    return names


def _refuse_own(folder: Path) -> None:
    """Refuses a shard set of Earshot; those of others may have a file of the same name."""
    try:
        record = read_json(folder / MANIFEST_NAME)
    except DamagedRecord:
        return
    if isinstance(record, dict) and {"format_version", "shards"} <= record.keys():
        raise UserError(
            f"{folder} is a shard set already, by its {MANIFEST_NAME}; train on it with "
            f"'pretrain/run.py --shards {folder}'"
        )


def _in_folder(folder: Path) -> list[str]:
    found = data_files_below(folder, LAST_SUFFIXES)
    tars = [str(path) for path in found if path.name.lower().endswith(TAR_SUFFIXES)]
    if not tars:
        others = ", ".join(path.name for path in other_files_below(folder, ())[:3])
        raise UserError(
            f"{folder} has no tars ({', '.join(TAR_SUFFIXES)}){f', but {others}' if others else ''}; give the folder "
            "of a WebDataset set"
        )
    return tars


def _expanded(word: str) -> list[str]:
    """The names of a pattern with braces, by the rule of webdataset."""
    if "{" not in word:
        return [word]
    from braceexpand import braceexpand  # webdataset expands patterns by it

    try:
        names = list(islice(braceexpand(word), MOST_FILES + 1))
    except ValueError as error:
        raise UserError(f"{word}: braces are not balanced; write them as in train-{{000000..000009}}.tar") from error
    if len(names) > MOST_FILES:
        raise UserError(f"{word} means more than {MOST_FILES:,} files; give fewer")
    return names


def _checked_url(url: str) -> str:
    scheme = "pipe" if url.startswith("pipe:") else urlsplit(url).scheme.lower()
    if scheme not in (*HTTP_SCHEMES, *COMMAND_SCHEMES):
        known = ", ".join((*HTTP_SCHEMES, *COMMAND_SCHEMES))
        raise UserError(
            f"{shown_url(url)}: the scheme must be one of {known}, got {scheme}; fetch the tars with your own tools "
            "and give their folder"
        )
    return url


def _shown(names: Sequence[str]) -> list[str]:
    """Short names, all different: the last part of each, or as many parts as it takes."""
    parts = [PurePosixPath(name).parts for name in names]
    for count in range(1, max(map(len, parts), default=1) + 1):
        short = ["/".join(part[-count:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(names)
