"""JSON files are written whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from commands import python_with_small_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shards.atomic_files import write_json, write_text_atomically, write_text_once
from shards.records import read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=JSON)
def test_what_is_written_is_read(record: object, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", record)
    assert read_json(tmp_path / "a.json") == record
    assert os.listdir(tmp_path) == ["a.json"]


def test_text_stays_readable_and_any_file_name_can_be_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"title": "Zürich"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "title": "Zürich"\n}\n'
    name = os.fsdecode(b"caf\xe9.wav")  # of no encoding
    write_json(tmp_path / "a.json", {"name": name})
    assert read_json(tmp_path / "a.json") == {"name": name}


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {1, 2})
    assert read_json(tmp_path / "a.json") == 1


def test_a_full_disk_leaves_the_old_file_and_no_other_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomically(path, "old")
    code = (
        "import sys, pathlib; from shards.atomic_files import write_text_atomically\n"
        "try: write_text_atomically(pathlib.Path(sys.argv[1]), 'x' * 100_000)\n"
        "except OSError as error: print(error.errno, error.filename)"
    )
    assert python_with_small_files(code, path, most_bytes=1000).split() == [str(errno.EFBIG), str(path)]
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there_is_named_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.txt"
    for write in (lambda: write_text_atomically(path, "x"), lambda: write_text_once(path, "x")):
        with pytest.raises(FileNotFoundError) as caught:
            write()
        assert caught.value.filename == str(path)
