"""npz files of strangers: arrays by name, or one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from shards.array_files import read_arrays
from shards.errors import UserError


def test_arrays_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.arange(3), two=np.ones((2, 2)))
    two, one = read_arrays(tmp_path / "a.npz", ("two", "one")).values()
    assert one.tolist() == [0, 1, 2]
    assert two.shape == (2, 2)


def _damaged(path: Path, how: str) -> None:
    np.savez(path, one=np.arange(1000))
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "no zip":
        path.write_bytes(b"PK" + b"\0" * 100)
    elif how == "cut":
        path.write_bytes(content[:500])
    elif how == "changed":
        path.write_bytes(content[:400] + bytes(200) + content[600:])
    elif how == "objects":
        np.savez(path, one=np.array([{}], dtype=object))
    elif how == "another":
        np.savez(path, two=np.arange(3))
    elif how == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("one.npy", bytes(4 << 20))
    elif how == "huge header":
        head = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("one.npy", head.ljust(127) + b"\n" + bytes(8))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("missing", "can't be read: No such file"),
        ("no zip", "is not a readable npz file"),
        ("cut", "is not a readable npz file"),
        ("changed", "is not a readable npz file .*CRC"),
        ("objects", "is not a readable npz file .*allow_pickle"),
        ("another", "has no array 'one'"),
        ("bomb", r"would unpack to 4,194,304 bytes, more than the 1,048,576 allowed"),
        ("huge header", "is not a readable npz file"),
    ],
)
def test_damaged_files_get_a_sentence(how: str, sentence: str, tmp_path: Path) -> None:
    _damaged(tmp_path / "a.npz", how)
    with pytest.raises(UserError, match=sentence) as refusal:
        read_arrays(tmp_path / "a.npz", ("one",), "make it again")
    assert str(refusal.value).startswith(str(tmp_path / "a.npz"))
    assert str(refusal.value).endswith("; make it again")
