"""The folder of uploads: files are opened in it alone, and go after half an hour of a clock that can't be set."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from retrieval.explore import upload_folder
from retrieval.explore.upload_folder import KEPT_SECONDS, NOT_UPLOADED, UploadFolder
from shards.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> UploadFolder:
    (tmp_path / "uploads" / "a1").mkdir(parents=True)
    (tmp_path / "uploads" / "a1" / "own.wav").write_bytes(b"own")
    (tmp_path / "secret.wav").write_bytes(b"not for you")
    return UploadFolder(tmp_path / "uploads")


def test_a_copy_has_the_name_and_the_bytes_and_goes_afterwards(folder: UploadFolder) -> None:
    with folder.private_copy(folder.path / "a1" / "own.wav") as copy:
        assert (copy.name, copy.read_bytes()) == ("own.wav", b"own")
        assert not copy.is_relative_to(folder.path)
    assert not copy.exists()
    assert (folder.path / "a1" / "own.wav").read_bytes() == b"own"


@pytest.mark.parametrize(
    "name", ["../secret.wav", "a1/../../secret.wav", "a1", "", "gone.wav", "link.wav", "linked/secret.wav", "pipe.wav"]
)
def test_what_is_no_file_of_the_folder_is_not_opened(folder: UploadFolder, name: str) -> None:
    (folder.path / "link.wav").symlink_to(folder.path.parent / "secret.wav")
    (folder.path / "linked").symlink_to(folder.path.parent)
    os.mkfifo(folder.path / "pipe.wav")
    with pytest.raises(UserError, match=NOT_UPLOADED), folder.private_copy(folder.path / name):
        pytest.fail("it was opened")
    with pytest.raises(UserError, match=NOT_UPLOADED), folder.private_copy(folder.path.parent / "secret.wav"):
        pytest.fail("it was opened")


def test_a_name_through_a_link_is_not_held(folder: UploadFolder) -> None:
    (folder.path / "link.wav").symlink_to(folder.path.parent / "secret.wav")
    (folder.path / "linked").symlink_to(folder.path.parent)
    assert folder.holds(str(folder.path / "a1" / "own.wav"))
    for name in ("link.wav", "linked/secret.wav", "../secret.wav", "a1/../../secret.wav"):
        assert not folder.holds(str(folder.path / name)), name


def test_descriptors_are_closed(folder: UploadFolder) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for name in ("a1/own.wav", "a1", "gone/own.wav", "a1/own.wav/x"):
        try:
            with folder.private_copy(folder.path / name):
                pass
        except UserError:
            pass
    assert opened() == before


def test_a_name_that_is_swapped_for_a_link_gives_no_other_file(folder: UploadFolder) -> None:
    own, secret = folder.path / "a1" / "own.wav", folder.path.parent / "secret.wav"
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for target in (secret, None):
                other = folder.path / "other"
                if target is None:
                    other.write_bytes(b"own")
                else:
                    other.symlink_to(target)
                other.replace(own)

    swapping = threading.Thread(target=swap)
    swapping.start()
    found = set()
    try:
        for _ in range(300):
            try:
                with folder.private_copy(own) as copy:
                    found.add(copy.read_bytes())
            except UserError as error:
                found.add(str(error).encode())
    finally:
        is_over.set()
        swapping.join()
    assert found <= {b"own", NOT_UPLOADED.encode()}
    assert found


def test_a_large_file_is_refused(folder: UploadFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_folder, "MAX_UPLOAD_BYTES", 2)
    with (
        pytest.raises(UserError, match="more than the limit of 0 MB; give a smaller file"),
        folder.private_copy(folder.path / "a1" / "own.wav"),
    ):
        pytest.fail("it was copied")


@pytest.mark.parametrize("file_time", [0, 1_000_000_000, 4_000_000_000])
def test_files_go_after_half_an_hour_whatever_the_date(tmp_path: Path, file_time: int) -> None:
    now = 50.0
    folder = UploadFolder(tmp_path, clock=lambda: now)
    (tmp_path / "a").mkdir()
    old, new = tmp_path / "a" / "old", tmp_path / "new"
    old.write_bytes(b"12345")
    os.utime(old, (file_time, file_time))
    assert folder.sweep() == 5
    now += KEPT_SECONDS
    new.write_bytes(b"123")
    assert folder.sweep() == 8
    now += 1
    assert folder.sweep() == 3
    assert not old.exists()
    assert new.exists()
