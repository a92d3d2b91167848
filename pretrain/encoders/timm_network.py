"""Any timm network as an encoder, `timm:NAME`, with timm's layer groups, weights and normalisation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers import convert_sync_batchnorm
from timm.models import group_parameters
from torch import Tensor
from typing_extensions import override

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.published_files import HUB_FILES, PublishedFile, of_the_hub, of_torch
from pretrain.encoders.timm_form import TimmForm
from shards.errors import UserError
from shards.registry import nearest


class TimmEncoder(Encoder):
    """A timm network without its classifier; parameter names are timm's, prefixed by `network.`.

    Args:
        architecture: timm's name, such as "vit_tiny_patch16_224", optionally with a weights tag after a dot.
        channels: of the input.
        input_size: (height, width), for networks that have a fixed input size; None: their own.
        norm: "batch" or "sync"; the network keeps its own normalisation layers.

    Raises:
        UserError: timm has no such network, or it can't be built for this input or norm.
    """

    library = "timm"
    prefix = "network."

    def __init__(self, architecture: str, channels: int, input_size: tuple[int, int] | None, norm: str) -> None:
        super().__init__()
        if not timm.is_model(architecture):
            raise UserError(
                f"timm has no network {architecture!r}; {nearest(architecture, timm.list_models())}"
                "timm.list_models() lists them"
            )
        if norm == "group":
            raise UserError(f"model.norm must be batch or sync with timm:{architecture}, which has its own norms")
        self.architecture = architecture
        self.options: dict[str, Any] = {"in_chans": channels, "num_classes": 0}
        config = timm.get_pretrained_cfg(architecture)
        if config is not None and config.fixed_input_size:
            self.options["img_size"] = input_size or config.input_size[1:]
        try:
            network: Any = timm.create_model(architecture, **self.options)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            pixels = f" of {input_size[0]} x {input_size[1]} pixels" if input_size else ""
            raise UserError(
                f"timm:{architecture} can't be built for {channels} channels{pixels}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        self.network: Any = network
        self.num_features = int(network.head_hidden_size)
        published: Mapping[str, Any] = network.pretrained_cfg
        self.image_mean, self.image_std = tuple(published["mean"]), tuple(published["std"])
        first = published.get("first_conv") or ()
        self.input_weights = tuple(f"{name}.weight" for name in ([first] if isinstance(first, str) else first))

    @property
    @override
    def library_arguments(self) -> dict[str, Any]:
        """Keywords of `timm.create_model`."""
        return {"model_name": self.architecture, **self.options}

    @override
    def timm_form(self) -> TimmForm:
        """The network itself."""
        architecture = str(self.network.pretrained_cfg.get("architecture") or self.architecture.partition(".")[0])
        names = {name: self.network.pretrained_cfg.get(name) for name in ("first_conv", "classifier")}
        arguments = {name: value for name, value in self.options.items() if name != "num_classes"}
        return TimmForm(architecture, arguments, self.published_state(), **names)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, num_features)."""
        features: Tensor = self.network.forward_head(self.network.forward_features(inputs), pre_logits=True)
        return features

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """timm's features before pooling; for transformers, the patch tokens on their grid."""
        features = self.network.forward_features(inputs)
        if isinstance(features, Tensor) and features.ndim == 4:
            is_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if is_last else features
        grid = getattr(getattr(self.network, "patch_embed", None), "grid_size", None)
        if isinstance(features, Tensor) and features.ndim == 3 and grid is not None:
            patches = features[:, getattr(self.network, "num_prefix_tokens", 0) :]
            if patches.shape[1] == grid[0] * grid[1]:
                return patches.transpose(1, 2).unflatten(2, grid)
        raise UserError(f"{self.name} has no feature map: its features are not on a grid; choose another encoder")

    @override
    def layers(self) -> list[list[str]]:
        """timm's groups for layer-wise learning rates: stages, or transformer blocks."""
        groups = group_parameters(self.network, self.network.group_matcher(coarse=True))
        return [[f"{self.prefix}{name}" for name in groups[depth]] for depth in sorted(groups)]

    @override
    def set_input_size(self, input_size: tuple[int, int]) -> None:
        """Resamples position embeddings and windows by timm."""
        if "img_size" not in self.options or tuple(self.options["img_size"]) == tuple(input_size):
            return
        if not hasattr(self.network, "set_input_size"):
            height, width = self.options["img_size"]
            raise UserError(
                f"{self.name} was built for images of {height} x {width} pixels and can't take "
                f"{input_size[0]} x {input_size[1]}; give that image_size, or choose another encoder"
            )
        self.network.set_input_size(img_size=input_size)
        self.options["img_size"] = tuple(input_size)

    @override
    def sync_norms(self) -> None:
        """Converts by timm, since its batch norms include the activation, which torch's conversion would drop."""
        self.network = convert_sync_batchnorm(self.network)

    @override
    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Applies timm's checkpoint filter of this network, which handles other names and input sizes."""
        convert = getattr(sys.modules[type(self.network).__module__], "checkpoint_filter_fn", None)
        with torch.no_grad():
            return super().adapted(convert(dict(state), self.network) if convert else state)

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """Downloads timm's weights of this name."""
        try:
            network: Any = timm.create_model(self.architecture, pretrained=True)
        except Exception as error:  # the hub client, timm and the network raise many kinds of errors
            config = timm.get_pretrained_cfg(self.architecture)
            name = config.hf_hub_id if config is not None else None
            where = (
                f"get model.safetensors from https://huggingface.co/{name} and give the file" if name else "give a file"
            )
            raise UserError(
                f"timm's weights of {self.architecture} can't be downloaded ({' '.join(str(error).split())[:100]}); "
                f"{where}, as by --model.image-init FILE"
            ) from error
        return network.state_dict(), f"timm ({network.pretrained_cfg.get('hf_hub_id') or 'its release page'})"

    @override
    def published_file(self) -> PublishedFile | None:
        """timm's weights of this name."""
        config = self.network.pretrained_cfg
        if config.get("hf_hub_id"):
            return of_the_hub(
                config["hf_hub_id"], (config["hf_hub_filename"],) if config.get("hf_hub_filename") else HUB_FILES
            )
        return of_torch(config["url"]) if config.get("url") else None


def build(architecture: str, *, channels: int, input_size: tuple[int, int] | None, norm: str) -> Encoder:
    """Builds a timm network, for `ENCODERS`."""
    return TimmEncoder(architecture, channels, input_size, norm)
