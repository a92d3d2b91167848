"""What operating systems and archives leave in a folder is no data."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards.data_files import (
    IMAGE_SUFFIXES,
    data_files,
    data_files_below,
    data_folders,
    image_files,
    is_leftover,
    other_files_below,
    sound_files,
)
from shards.errors import UserError


@pytest.mark.parametrize(
    "name",
    ["._a.jpg", ".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX", "@eaDir", ".ipynb_checkpoints"],
)
def test_leftovers_are_recognised_in_any_case(name: str) -> None:
    assert is_leftover(name)
    assert is_leftover(name.upper())


@pytest.mark.parametrize("name", ["a.jpg", "Thumbs.jpg", "thumbs", "macosx", "_a.jpg", "a._.jpg"])
def test_names_like_leftovers_are_data(name: str) -> None:
    assert not is_leftover(name)


def test_files_and_folders_without_leftovers(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.tif", "._a.tif", "notes.txt", "__MACOSX/._b.JPG", "sub/c.png", "sub/@eaDir/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()

    assert [path.name for path in data_files(tmp_path, IMAGE_SUFFIXES)] == ["a.tif", "b.JPG"]
    below = [path.relative_to(tmp_path).as_posix() for path in data_files_below(tmp_path, IMAGE_SUFFIXES)]
    assert below == ["a.tif", "b.JPG", "sub/c.png"]
    assert [path.name for path in other_files_below(tmp_path, IMAGE_SUFFIXES)] == ["notes.txt"]
    assert [path.name for path in data_folders(tmp_path)] == ["folder.png", "sub"]


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.bin").touch()
    (tmp_path / "linked.png").symlink_to(tmp_path / "elsewhere.bin")

    assert [path.name for path in data_files(tmp_path, IMAGE_SUFFIXES)] == ["linked.png"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UserError, match=r"no images at .*a\.jpg: it is a file; give the folder that holds images"):
        image_files(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"no sounds at .*b: no such folder"):
        sound_files(tmp_path / "b")
