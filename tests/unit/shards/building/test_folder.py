"""Which folders a build may begin or go on in, also while others begin the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.building.folder import check_folder
from shards.building.packing import WORK_FOLDER
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME


@pytest.mark.parametrize("name", [None, WORK_FOLDER, MANIFEST_NAME])
def test_a_new_begun_or_finished_set_is_fine(tmp_path: Path, name: str | None) -> None:
    out = tmp_path / "set"
    check_folder(out)
    out.mkdir()
    if name == WORK_FOLDER:
        (out / name).mkdir()
    elif name:
        (out / name).touch()
    check_folder(out)


def test_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match="is not empty and is no shard set"):
        check_folder(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        check_folder(tmp_path / "holiday.jpg")


def test_another_process_may_begin_the_set_at_this_very_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list_folder = Path.iterdir

    def begin_first(folder: Path) -> Iterator[Path]:
        (folder / WORK_FOLDER).mkdir(exist_ok=True)
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", begin_first)
    check_folder(tmp_path)
