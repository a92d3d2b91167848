"""The files of a model folder, and which folder words name: a model folder, a run folder, or a model on the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from shards.errors import UserError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
NOTICE_NAME = "NOTICE.md"

PUBLISHED = ("imagenet", "pretrained")
"""Weights that a library publishes: imagenet, torchvision's; pretrained, those of the encoder's own library."""

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")


def is_hub_name(words: str | Path) -> bool:
    """Whether words can only mean a model on the hub: `owner/name`, with nothing at that path.

    Where a folder `owner` is here, `owner/name` is a path that was mistyped, and the hub is not asked.
    """
    path = Path(words)
    return HUB_NAME.fullmatch(str(words)) is not None and not path.exists() and not path.parent.is_dir()


def require_weights(weights: str, setting: str = "weights") -> None:
    """Refuses weights that can't be anywhere.

    Args:
        weights: "random", "imagenet", "pretrained", a path, or a model on the hub (`owner/name`); the hub is not asked.
        setting: that they come from, for the message.

    Raises:
        UserError: there is nothing at the path.
    """
    if weights not in ("random", *PUBLISHED) and not Path(weights).exists() and not is_hub_name(weights):
        raise UserError(
            f"{setting} must be random, imagenet, pretrained, or a run folder, model folder or file that is there, got "
            f"{weights}"
        )


def find_model_folder(path: Path, **of_the_hub: Any) -> Path:
    """The model folder that `path` is or, as a run folder, holds, or that a model on the hub is fetched into.

    Args:
        path: the folder, or `owner/name`.
        of_the_hub: options of `pretrain.hub.fetch_files`.

    Raises:
        UserError: neither.
    """
    if not is_hub_name(path):
        return _local_model_folder(path)
    from pretrain.hub import fetch_files

    # The licence and its notices stay with the weights.
    fetched = fetch_files(str(path), (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, NOTICE_NAME), **of_the_hub)
    if not _is_model_folder(fetched):
        raise UserError(f"{path} on the hub is no model of Earshot's: it lacks {CONFIG_NAME} or {WEIGHTS_NAME}")
    return fetched


def check_model_folder(path: Path) -> None:
    """Checks, before torch is imported, that there are weights at `path`; the hub is not asked.

    Raises:
        UserError: there are none.
    """
    if not is_hub_name(path):
        _local_model_folder(path)


def _local_model_folder(path: Path) -> Path:
    for folder in (path, path / "model"):
        if _is_model_folder(folder):
            return folder
    if not path.exists():
        raise UserError(f"no weights at {path}: no such folder")
    raise UserError(
        f"no weights at {path}: give a run folder (with model/) or a model folder "
        f"(with {CONFIG_NAME} and {WEIGHTS_NAME}); a run writes its model after the first validation"
    )


def _is_model_folder(folder: Path) -> bool:
    return (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file()
