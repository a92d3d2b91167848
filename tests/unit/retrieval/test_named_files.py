"""What `embed` takes: folders, files, patterns and lists, each file once and by a unique name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrieval.named_files import NamedFiles, named_files
from shards.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1.jpg", "a/2.TIF", "a/notes.md", "a/deep/1.jpg", "b/1.jpg", "b/strange.dat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def found(*given: Path) -> NamedFiles:
    files = named_files(given, "images")
    # A name leads to its file, and no two are equal.
    assert len(set(files.names)) == len(files.names) == len({path.resolve() for path in files.paths})
    for path, name in zip(files.paths, files.names, strict=True):
        assert path.as_posix().endswith(name)
    return files


def test_a_folder_is_named_from_itself(folder: Path) -> None:
    files = found(folder / "a")
    assert files.names == ["1.jpg", "2.TIF", "deep/1.jpg"]
    assert files.others == ["notes.md"]


def test_several_folders_and_files_are_named_from_the_folder_that_holds_all(folder: Path) -> None:
    files = found(folder / "b", folder / "a" / "deep", folder / "b" / "strange.dat")
    assert files.names == ["b/1.jpg", "a/deep/1.jpg", "b/strange.dat"]
    assert found(folder / "b" / "strange.dat").names == ["strange.dat"]
    assert found(folder / "a" / "deep" / "1.jpg", folder / "a" / "1.jpg").names == ["deep/1.jpg", "1.jpg"]


def test_a_file_given_twice_is_there_once_at_its_first_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "a")
    files = found(Path("2.TIF"), folder / "a", Path("../a/./1.jpg"))
    assert files.names == ["2.TIF", "1.jpg", "deep/1.jpg"]
    assert files.num_repeated == 2


def test_patterns_take_the_kind_by_suffix(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = found(folder / "*" / "*")
    assert files.names == ["a/1.jpg", "a/2.TIF", "a/deep/1.jpg", "b/1.jpg"]
    assert sorted(files.others) == ["a/notes.md", "b/strange.dat"]
    assert files.num_repeated == 0
    everything = found(folder / "**")
    assert everything.names == files.names
    assert everything.num_repeated == 0
    monkeypatch.chdir(folder)
    assert found(Path("?/1.jpg")).names == ["a/1.jpg", "b/1.jpg"]
    # What has such a name is no pattern.
    (folder / "b" / "c[1].jpg").write_bytes(b"")
    assert found(folder / "b" / "c[1].jpg").names == ["c[1].jpg"]


def test_a_list_keeps_its_order_and_is_read_from_its_own_folder(folder: Path) -> None:
    lines = ["b/strange.dat", "", "  a/deep/1.jpg ", str(folder / "a" / "1.jpg"), "b", "b/strange.dat"]
    (folder / "files.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    files = found(folder / "files.txt")
    assert files.names == ["b/strange.dat", "a/deep/1.jpg", "a/1.jpg", "b/1.jpg"]
    assert files.num_repeated == 1
    (folder / "files.txt").write_text("a/1.jpg\nb/gone.jpg\n")
    with pytest.raises(
        UserError, match=r"files\.txt, line 2: no file .*gone\.jpg; a \.txt file is read as a list of paths"
    ):
        found(folder / "files.txt")


def test_a_name_of_any_bytes_is_kept(folder: Path) -> None:
    path = os.fsencode(folder / "b") + b"/\xff.jpg"
    Path(os.fsdecode(path)).write_bytes(b"")
    (folder / "files.txt").write_bytes(b"b/\xff.jpg\n")
    assert os.fsencode(found(folder / "files.txt").names[0]) == b"\xff.jpg"


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no images at .*gone: no such file or folder"):
        found(folder / "a", folder / "gone")
    with pytest.raises(UserError, match=r"no images at .*\*\.png: no file matches this pattern"):
        found(folder / "*.png")
    with pytest.raises(UserError, match=r"no sounds in .*/a: none of its files ends in \.wav"):
        named_files([folder / "a"], "sounds")
