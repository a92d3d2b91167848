"""Builds encoders by name, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from pretrain.encoders import ENCODERS
from pretrain.encoders.encoder import Encoder
from pretrain.encoders.running_statistics import average_at_first, averages_at_first
from shards.errors import UserError

DEFAULT_INPUT_SIZE = (224, 224)

Network = TypeVar("Network", bound=nn.Module)


def build_encoder(
    name: str,
    *,
    channels: int,
    norm: str = "batch",
    input_size: tuple[int, int] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Encoder:
    """Builds the encoder of a name in `ENCODERS`, `timm:NAME`, `transformers:NAME` or `module:object`.

    Args:
        name: as in settings and `config.json`.
        channels: of the input.
        norm: "batch", "sync" (batch norm until `synced`) or "group".
        input_size: (height, width) of the input; None: the network's own, or `DEFAULT_INPUT_SIZE` if it has none.
        config: `Encoder.config` of an earlier build; None: as its library has it.

    Raises:
        UserError: no such encoder, or an object that does not build one.
    """
    build = ENCODERS.load(name)
    size = input_size if ENCODERS.is_of_family(name) else input_size or DEFAULT_INPUT_SIZE
    options = {} if config is None else {"config": config}
    try:
        encoder = build(channels=channels, input_size=size, norm=norm, **options)
    except TypeError as error:
        if ENCODERS.is_outside_code(name):
            raise UserError(
                f"encoder {name} must take channels, input_size and norm by name, as pretrain.encoders.encoder says: "
                f"{error}"
            ) from error
        raise
    if not isinstance(encoder, Encoder) or not isinstance(getattr(encoder, "num_features", None), int):
        raise UserError(
            f"encoder {name} must build a pretrain.encoders.encoder.Encoder with num_features, it built a "
            f"{type(encoder).__name__}"
        )
    encoder.name = name
    return encoder


def synced(module: Network) -> Network:
    """Converts batch norm to synchronised batch norm; encoders convert themselves."""
    if isinstance(module, Encoder):
        is_random = averages_at_first(module)
        module.sync_norms()
        if is_random:  # the conversion drops hooks
            average_at_first(module)
        return module
    if not any(isinstance(child, Encoder) for child in module.modules()):
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for name, child in module.named_children():
        module.add_module(name, synced(child))
    return module
