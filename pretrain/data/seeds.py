"""Seeds as functions of what they are for: no random state to pass on between processes, or to save."""

from __future__ import annotations

import hashlib


def sample_seed(seed: int, epoch: int, key: str) -> int:
    """A seed for one sample's augmentation, from the run's seed, the epoch and the key: no worker's state."""
    return _hashed(f"{seed}/{epoch}/{key}")


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for something else that is random about the same sample."""
    return _hashed(f"{seed}/{purpose}")


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
