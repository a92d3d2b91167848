"""ADVANCE's rules as numbers: which sounds are dropped or repeated, which classes are dropped or get shifted tiles."""

from __future__ import annotations

import hashlib
import math
from typing import Literal

SHORTEST_SECONDS = 2
"""Shorter recordings are dropped; one of exactly 2 s stays."""

CLIP_SECONDS = 10
"""Recordings of up to 10 s, 10 s itself among them, are repeated until they are longer than a clip."""

FEWEST_PAIRS = 10
"""Classes with fewer pairs are dropped."""

FEW_PAIRS = 100
"""Classes with fewer pairs get shifted tiles."""

DIRECTIONS = ("north", "east", "south", "west")
"""Where shifted tiles lie from the place: a pair gets one in each."""

Decision = Literal["dropped", "shifted", "kept"]

ADVANCE_CLASSES = (
    *("airport", "beach", "bridge", "farmland", "forest", "grassland", "harbour", "lake", "orchard", "residential"),
    *("sparse shrub land", "sports land", "train station"),
)
"""The classes of the published set, in alphabetical order; `downstream/run.py advance` takes no other."""


def is_too_short(num_samples: int, rate_hz: int) -> bool:
    """Whether a recording is shorter than 2 s."""
    return num_samples < SHORTEST_SECONDS * rate_hz


def repeats_of(num_samples: int, rate_hz: int) -> int:
    """How often a recording is played for a clip: once if it is longer than 10 s, else until it is.

    A recording of 5 s is played three times, because twice is not longer than 10 s.

    Args:
        num_samples: of the recording, at least 2 s.
        rate_hz: sampling rate.
    """
    return CLIP_SECONDS * rate_hz // num_samples + 1


def clip_start(num_samples: int, rate_hz: int, text: str, seed: int) -> int:
    """The first sample of a random clip in a recording that was repeated; all starts are equally likely.

    Args:
        num_samples: of the recording itself.
        rate_hz: sampling rate.
        text: names the clip; another text gives another one.
        seed: of the set.

    Returns:
        0 … repeats · num_samples − 10 s.
    """
    last = repeats_of(num_samples, rate_hz) * num_samples - CLIP_SECONDS * rate_hz
    return min(last, math.floor(_share(f"advance:{seed}:{text}") * (last + 1)))


def decide(num_pairs: int) -> Decision:
    """What becomes of a class with that many pairs."""
    if num_pairs < FEWEST_PAIRS:
        return "dropped"
    return "shifted" if num_pairs < FEW_PAIRS else "kept"


def _share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
