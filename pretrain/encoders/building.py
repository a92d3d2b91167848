"""Builds encoders by name, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pretrain.encoders import ENCODERS
from pretrain.encoders.encoder import Encoder
from shards.errors import UserError

DEFAULT_INPUT_SIZE = (224, 224)

TORCH_MOMENTUM = 0.1
"""Share of a batch in the running statistics of batch norm."""

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


def start_from_random(encoder: Encoder) -> Encoder:
    """Lets the running statistics of an encoder with random weights follow its batches as fast as torch's default.

    Networks with TensorFlow's settings (MobileNetV3, EfficientAT) keep 99 % of them at each step. From random
    weights, the first hundreds of steps would be evaluated with statistics of other weights: after 55 steps of `mn04`,
    all sounds had the same embedding, and the median rank was that of chance instead of 40 among 112 pairs.
    """
    for module in encoder.modules():
        if isinstance(module, _BatchNorm) and module.momentum is not None:
            module.momentum = max(module.momentum, TORCH_MOMENTUM)
    return encoder


def synced(module: Network) -> Network:
    """Converts batch norm to synchronised batch norm; encoders convert themselves."""
    if isinstance(module, Encoder):
        module.sync_norms()
        return module
    if not any(isinstance(child, Encoder) for child in module.modules()):
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for name, child in module.named_children():
        module.add_module(name, synced(child))
    return module
