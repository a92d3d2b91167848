"""Files of published weights: names, sizes where they are known, and whether a cache has them; fetches nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that a library publishes.

    Attributes:
        name: of the file and of its source.
        num_bytes: its size in bytes; None: not known before it is fetched.
        is_cached: whether it is on this machine.
    """

    name: str
    num_bytes: int | None
    is_cached: bool


def of_torch(url: str, num_bytes: int | None = None) -> PublishedFile:
    """A file that torch fetches into its cache.

    Args:
        url: its address.
        num_bytes: its stated size, if there is one.
    """
    import torch

    file = os.path.basename(urlsplit(url).path)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    is_cached = cached.is_file()
    return PublishedFile(
        f"{file} of {urlsplit(url).netloc}", cached.stat().st_size if is_cached else num_bytes, is_cached
    )


def of_the_hub(name: str, files: Sequence[str] = HUB_FILES) -> PublishedFile:
    """The weights of a model on the Hugging Face hub.

    Args:
        name: `owner/name`.
        files: names under which they may be stored.
    """
    found = next((path for file in files if (path := cached_of_the_hub(name, file)) is not None), None)
    return PublishedFile(f"{name} of the hub", None if found is None else found.stat().st_size, found is not None)


def cached_of_the_hub(name: str, file: str) -> Path | None:
    """A file of a model on the hub in this machine's cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, file)
    return Path(path) if isinstance(path, str) else None
