"""The files of a model folder, and finding one from a model folder, a run folder or a model on the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pretrain.model_registry import fetched_folder, is_registered, list_models, model_entry
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
NOTICE_NAME = "NOTICE.md"

PUBLISHED = ("imagenet", "pretrained")
"""Weights published by a library: imagenet means torchvision's; pretrained, those of the encoder's own library."""

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")


def is_hub_name(words: str | Path) -> bool:
    """Returns whether `words` can only mean a model on the hub: `owner/name`, with nothing at that path.

    If a local folder `owner` exists, `owner/name` is taken for a mistyped path, and the hub is not contacted.
    """
    path = Path(words)
    return HUB_NAME.fullmatch(str(words)) is not None and not path.exists() and not path.parent.is_dir()


def is_model_name(words: str | Path) -> bool:
    """Returns whether `words` can only name a model, in the registry or on the hub, with nothing at that path."""
    return is_hub_name(words) or is_registered(words)


def require_weights(weights: str, setting: str = "weights") -> None:
    """Rejects weights that can't exist.

    Args:
        weights: "random", "imagenet", "pretrained", a path, a model of the registry, or one on the hub
            (`owner/name`), which is not contacted.
        setting: name of the setting that they come from, for the message.

    Raises:
        UserError: nothing exists at the path.
    """
    if weights not in ("random", *PUBLISHED) and not Path(weights).exists() and not is_model_name(weights):
        raise UserError(
            f"{setting} must be random, imagenet, pretrained, or an existing run folder, model folder or file, or the "
            f"name of a model, got {weights}"
        )


def find_model_folder(path: Path, **of_the_hub: Any) -> Path:
    """Returns the model folder at `path`, the one inside a run folder, or that of a model by name.

    Args:
        path: the folder, a name in the registry (`pretrain.model_registry.list_models`), or `owner/name` on the hub.
        of_the_hub: options of `pretrain.hub.fetch_files`.

    Raises:
        UserError: there is no model.
    """
    name = str(path)
    if is_registered(path):
        entry = model_entry(name)
        if entry.hub is None:
            return _local_model_folder(fetched_folder(entry))
        name, of_the_hub = entry.hub, {**of_the_hub, "revision": of_the_hub.get("revision") or entry.revision}
    elif not is_hub_name(path):
        return _local_model_folder(path)
    from pretrain.hub import fetch_files

    # The card and the notice state the licence, so they are fetched with the weights.
    fetched = fetch_files(name, (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, NOTICE_NAME), **of_the_hub)
    if not _is_model_folder(fetched):
        raise UserError(f"{name} on the hub is not an Earshot model: it lacks {CONFIG_NAME} or {WEIGHTS_NAME}")
    return fetched


def check_model_folder(path: Path) -> None:
    """Checks, before torch is imported, that there are weights at `path`; nothing is downloaded.

    Raises:
        UserError: there are none.
    """
    if is_registered(path) and (entry := model_entry(str(path))).command is not None:
        fetched_folder(entry)
    elif not is_model_name(path):
        _local_model_folder(path)


def _local_model_folder(path: Path) -> Path:
    for folder in (path, path / "model"):
        if _is_model_folder(folder):
            return folder
    if not path.exists():
        models = f"; models by name: {', '.join(list_models())}" if path.name == str(path) else ""
        raise UserError(f"no weights at {path}: no such folder{models}")
    what = "it is a file; " if path.is_file() else "it is a shard set; " if _is_shard_set(path) else ""
    raise UserError(
        f"no weights at {path}: {what}give a run folder (with model/) or a model folder "
        f"(with {CONFIG_NAME} and {WEIGHTS_NAME}); a run writes its model after the first validation"
    )


def _is_shard_set(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).is_file()


def _is_model_folder(folder: Path) -> bool:
    return (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file()
