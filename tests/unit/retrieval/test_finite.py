"""Embeddings that are not finite are refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from retrieval.finite import refuse_not_finite
from shards.errors import UserError


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(value: float) -> None:
    images, sounds = np.zeros((8, 3), np.float32), np.zeros((8, 3), np.float32)
    names = list("abcdefgh")
    refuse_not_finite(names, images, sounds)
    images[1, 2], sounds[4, 0] = value, value
    with pytest.raises(UserError, match=re.escape("2 of 8 embeddings are not finite (b, e), so the weights have")):
        refuse_not_finite(names, images, sounds)
    sounds[:] = value
    with pytest.raises(UserError, match=re.escape("8 of 8 embeddings are not finite (a, b, c, d, e, …), so")):
        refuse_not_finite(names, images, sounds)


def test_nothing_is_finite() -> None:
    refuse_not_finite([], np.empty((0, 0), np.float32))
