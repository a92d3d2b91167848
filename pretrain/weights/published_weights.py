"""Which published weights a run starts from, and the run's settings without them, for checks that fetch nothing."""

from __future__ import annotations

import os

import torch

from pretrain.encoders.building import build_encoder
from pretrain.encoders.published_files import PublishedFile, cached_of_the_hub, of_the_hub
from pretrain.model_files import CONFIG_NAME, PUBLISHED, WEIGHTS_NAME, is_hub_name
from pretrain.model_registry import is_registered, model_entry, models_folder
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import Config

TOWERS = (("image", 3), ("sound", 1))
"""Name of each tower in settings, and its channels."""
HUB_FAMILY = "transformers:"
"""Encoders whose architecture is stated by a file on the hub."""


def without_fetching(config: Config) -> Config:
    """The settings with random weights in place of those that might be downloaded, and without a cache on the disk."""
    names = [f"{tower}_init" for tower, _ in TOWERS]
    fetched = [name for name in names if _may_be_fetched(getattr(config.model, name), config)]
    return with_settings(config, {"data.cache_dir": None, **{f"model.{name}": "random" for name in fetched}})


def unknown_encoders(config: Config) -> list[str]:
    """The encoders whose architecture has to be fetched before they can be built."""
    encoders = [getattr(config.model, f"{tower}_encoder") for tower, _ in TOWERS]
    return [encoder for encoder in encoders if not _is_known(encoder)]


def published_weights(config: Config) -> list[PublishedFile]:
    """The published weights that a run starts from, cached or not."""
    found = []
    for tower, channels in TOWERS:
        init, encoder = getattr(config.model, f"{tower}_init"), getattr(config.model, f"{tower}_encoder")
        if not _may_be_fetched(init, config):
            continue
        if init in PUBLISHED:
            file = _of_encoder(encoder, channels)
        elif is_registered(init):
            file = _registered(init)
        else:
            file = of_the_hub(init, (WEIGHTS_NAME,))
        if file is not None:
            found.append(file)
    return found


def _may_be_fetched(init: str, config: Config) -> bool:
    if init in PUBLISHED:
        return config.model.imagenet_file is None
    return model_entry(init).command is None if is_registered(init) else is_hub_name(init)


def _is_known(encoder: str) -> bool:
    source = encoder.removeprefix(HUB_FAMILY)
    is_local = source == encoder or os.path.isdir(source)
    return is_local or cached_of_the_hub(source, CONFIG_NAME) is not None


def _of_encoder(encoder: str, channels: int) -> PublishedFile | None:
    if not _is_known(encoder):
        return of_the_hub(encoder.removeprefix(HUB_FAMILY))
    with torch.device("meta"):
        return build_encoder(encoder, channels=channels).published_file()


def _registered(name: str) -> PublishedFile:
    entry = model_entry(name)
    if entry.hub is not None:
        return of_the_hub(entry.hub, (WEIGHTS_NAME,))
    path = models_folder() / entry.name / WEIGHTS_NAME
    is_cached = path.is_file()
    return PublishedFile(f"{name} of {entry.url}", path.stat().st_size if is_cached else None, is_cached)
