"""Reads untrusted npy and npz files: nothing is unpickled, and nothing unpacks to far more than its file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.errors import first_line
from shards.records import DamagedRecord
from shards.zip_files import refuse_bombs

MOST_EXPANSION = 8
"""How many times its size a file may unpack to; those of Earshot are not compressed."""
SMALL_BYTES = 1 << 20
"""What any file may unpack to."""


def open_array(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """Opens a npy file, memory-mapped.

    Raises:
        DamagedRecord: it is missing, damaged, or holds Python objects.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except OSError as error:
        raise DamagedRecord(f"{path} can't be read: {error.strerror or first_line(error)}") from error
    except Exception as error:  # numpy parses the header as Python source, which raises many kinds of errors
        raise DamagedRecord(f"{path} is not a readable npy file ({first_line(error)[:120]})") from error
    return array


def read_arrays(path: Path, names: Iterable[str], remedy: str = "") -> dict[str, NDArray[Any]]:
    """Reads some arrays of an npz file.

    Args:
        path: the file.
        names: of the arrays.
        remedy: what to do if one can't be read; appended to the message.

    Raises:
        DamagedRecord: the file is missing or damaged, lacks an array, holds Python objects, or unpacks to more than
            `MOST_EXPANSION` times its size.
    """
    end = f"; {remedy}" if remedy else ""
    try:
        refuse_bombs(path, max(SMALL_BYTES, MOST_EXPANSION * path.stat().st_size), remedy)
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                raise DamagedRecord(f"{path} has no array {missing[0]!r}{end}")
            return {name: arrays[name] for name in names}
    except DamagedRecord:
        raise
    except OSError as error:
        raise DamagedRecord(f"{path} can't be read: {error.strerror or first_line(error)}{end}") from error
    except Exception as error:  # zipfile, zlib and numpy raise many kinds of errors
        raise DamagedRecord(f"{path} is not a readable npz file ({first_line(error)[:120]}){end}") from error
