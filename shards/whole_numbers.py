"""Whole numbers that Python code passes: what counts as one, and the sentence where something else is given."""

from __future__ import annotations

from operator import index
from typing import Any


def check_whole(**values: Any) -> None:
    """Checks that arguments are whole numbers: Python's or NumPy's, no booleans and no floats.

    Raises:
        TypeError: the message names the first that is not.
    """
    for name, value in values.items():
        if not _is_whole(value):
            raise TypeError(f"{name} must be a whole number, got {value!r}")


def _is_whole(value: Any) -> bool:
    try:
        index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)
