"""The files that `embed` is given as folders, files, patterns and lists: each once, with a unique name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES, data_files_below, other_files_below
from shards.errors import UserError

Kind = Literal["images", "sounds"]

SUFFIXES: dict[Kind, tuple[str, ...]] = {"images": IMAGE_SUFFIXES, "sounds": SOUND_SUFFIXES}
LIST_SUFFIX = ".txt"


@dataclass(frozen=True)
class NamedFiles:
    """Files with their names.

    Attributes:
        paths: the files, none twice; those of folders and patterns sorted, else in the order given.
        names: of each, relative to the folder that holds all of them.
        others: names of files in folders and patterns that are of another kind by their suffix.
        num_repeated: how many times a file was given again.
    """

    paths: list[Path]
    names: list[str]
    others: list[str]
    num_repeated: int


def check_paths(given: Sequence[Path], kind: Kind) -> None:
    """Checks that there is something at each path, without reading folders.

    Raises:
        UserError: a path does not exist, or a list names a file that does not.
    """
    for path in given:
        if _is_list(path):
            for number, file in _listed(path):
                if not file.exists():
                    raise UserError(
                        f"{path}, line {number}: no file {file}; a {LIST_SUFFIX} file is read as a list of paths, one "
                        "a line, relative to its own folder"
                    )
        elif not path.exists() and not _matches(path):
            what = "no file matches this pattern" if is_pattern(path) else "no such file or folder"
            raise UserError(f"no {kind} at {path}: {what}")


def named_files(given: Sequence[Path], kind: Kind) -> NamedFiles:
    """The files at some paths.

    Args:
        given: folders (with all below), files, patterns with *, ? or ** that nothing has as its name, and lists of
            paths (.txt). A file that is named itself, or by a list, may have any suffix.
        kind: of the files; in folders and patterns, it is known by suffix.

    Raises:
        UserError: as `check_paths`, or there is no file of the kind.
    """
    check_paths(given, kind)
    paths: list[Path] = []
    others: list[Path] = []
    for path in given:
        for found, is_chosen in _found(path, SUFFIXES[kind]):
            (paths if is_chosen else others).append(found)
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(os.path.abspath(path), path)
    unique = list(first.values())
    if not unique:
        places = ", ".join(map(str, given))
        raise UserError(f"no {kind} in {places}: none of its files ends in {', '.join(SUFFIXES[kind])}")
    root = _root(given, unique)
    return NamedFiles(
        unique, [_name(path, root) for path in unique], _names_within(others, root), len(paths) - len(unique)
    )


def names_below(given: Path, paths: Sequence[Path]) -> list[str]:
    """Names of the files of one folder or pattern, as `named_files` gives them."""
    root = _root([given], paths)
    return [_name(path, root) for path in paths]


def _root(given: Sequence[Path], paths: Sequence[Path]) -> Path:
    """The folder that names of files are relative to."""
    return given[0] if len(given) == 1 and given[0].is_dir() else _common_folder(paths)


def _found(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, bool]]:
    """The files at one path, and whether each is of the kind."""
    if path.is_dir():
        yield from ((file, True) for file in data_files_below(path, suffixes))
        yield from ((file, False) for file in other_files_below(path, suffixes))
    elif _is_list(path):
        for _, file in _listed(path):
            yield from _found(file, suffixes) if file.is_dir() else [(file, True)]
    elif path.exists():
        yield path, True
    else:
        # A pattern with ** matches a folder and what is in it.
        found: dict[Path, bool] = {}
        for match in _matches(path):
            found |= _found(match, suffixes) if match.is_dir() else {match: match.suffix.lower() in suffixes}
        yield from found.items()


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == LIST_SUFFIX and path.is_file()


def _listed(path: Path) -> Iterator[tuple[int, Path]]:
    """The paths in a list with their line numbers; empty lines are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UserError(f"the list {path} can't be read: {error.strerror}; make it readable") from error
    yield from ((number, path.parent / line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


def is_pattern(path: Path) -> bool:
    """Whether a path that nothing has as its name would be a pattern: it holds *, ? or [."""
    return glob.has_magic(str(path))


def _matches(path: Path) -> list[Path]:
    return sorted(map(Path, glob.iglob(str(path), recursive=True))) if is_pattern(path) else []


def _common_folder(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]))


def _name(path: Path, root: Path) -> str:
    return Path(os.path.relpath(os.path.abspath(path), os.path.abspath(root))).as_posix()


def _names_within(paths: list[Path], root: Path) -> list[str]:
    return list(dict.fromkeys(_name(path, root) for path in paths))
