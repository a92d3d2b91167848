"""What every encoder offers: features, a feature map, its layers in depth order, and how it takes published weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD
from shards.errors import UserError


class Encoder(nn.Module):
    """A network from (n, channels, height, width) to (n, `num_features`).

    A subclass sets `num_features` and defines `feature_map` and `layers`; the rest has defaults that fit a network
    that ends in a mean over the places and takes inputs of any size.

    Attributes:
        num_features: of the output.
        name: by which `ENCODERS` knows it; `build_encoder` sets it.
        image_mean, image_std: by which images in [0, 1] were normalised for the published weights.
        library: whose network it is, under the same names of weights: "torchvision", "timm", or "" for nobody's.
        prefix: what stands before the published names in this module's own.
        input_weights: published names of the weights whose shape depends on the number of channels.
    """

    num_features: int
    name: str = ""
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    library: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    input_weights: tuple[str, ...] = ()

    @property
    def library_arguments(self) -> dict[str, Any]:
        """Keywords of the library's function that builds the network anew, without a classifier."""
        return {}

    def feature_map(self, inputs: Tensor) -> Tensor:
        """What the features are pooled from: (n, channels, height, width) → (n, c, h, w).

        Raises:
            UserError: the network has none.
        """
        raise UserError(f"{self.name or type(self).__name__} has no feature map; choose another encoder")

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, num_features)."""
        return self.feature_map(inputs).mean((2, 3))

    def layers(self) -> list[list[str]]:
        """Names of the parameters of each layer, from the input to the output; each parameter in exactly one."""
        raise NotImplementedError

    def stages(self) -> list[list[str]]:
        """The submodules that give the feature map one after the other, in five groups that each halve the sides.

        Raises:
            UserError: the network is not such a sequence, so dense prediction can't be built on it.
        """
        raise UserError(
            f"{self.name or type(self).__name__} is no sequence of five stages that each halve the sides, which "
            "DeepLabv3+ needs; choose a ResNet, such as resnet18"
        )

    def set_input_size(self, input_size: tuple[int, int]) -> None:
        """Adapts the network and its weights to inputs of (height, width); convolutions need nothing."""

    def sync_norms(self) -> None:
        """Turns batch norms into such that normalise over all processes."""
        for name, child in self.named_children():
            self.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))

    def published_state(self) -> dict[str, Tensor]:
        """The weights under the names that the library which has this network gives them."""
        return {name.removeprefix(self.prefix): value for name, value in self.state_dict().items()}

    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights for this network's channels and input size.

        Where it takes one channel, the weights of three colours are summed: a grey image is answered as before.
        """
        own, adapted = self.published_state(), dict(state)
        for name in self.input_weights:
            weight = adapted.get(name)
            if weight is not None and weight.ndim == 4 and (own[name].shape[1], weight.shape[1]) == (1, 3):
                adapted[name] = weight.sum(1, keepdim=True)
        return adapted

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Takes weights by published names, `adapted` before; names that it does not have are left out."""
        own = self.published_state()
        self.load_state_dict({f"{self.prefix}{name}": state[name] for name in own if name in state}, strict=False)

    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """The weights that the library publishes for this network, fetched where they are not kept; and from where.

        Raises:
            UserError: there are none, or they can't be fetched.
        """
        raise UserError(f"nobody publishes weights of {self.name}; give a file or random")


class BuildEncoder(Protocol):
    """What a name in `ENCODERS` stands for."""

    def __call__(self, *, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
        """A network with random weights for inputs of (channels, height, width), with "batch", "sync" or "group" norm.

        "sync" is batch norm at first: the trainer calls `sync_norms` once the processes are known.
        """
        ...


def checked_layers(encoder: Encoder) -> list[list[str]]:
    """An encoder's layers, of which each parameter is in exactly one.

    Raises:
        ValueError: a parameter is in none or in several.
    """
    layers = encoder.layers()
    listed = [name for layer in layers for name in layer]
    own = [name for name, _ in encoder.named_parameters()]
    wrong = sorted(set(own) ^ set(listed)) or sorted(name for name in own if listed.count(name) > 1)
    if wrong:
        raise ValueError(
            f"layers() of {encoder.name or type(encoder).__name__} must list each parameter once, {wrong[0]} is listed "
            f"{listed.count(wrong[0])} times and is {'a' if wrong[0] in own else 'no'} parameter"
        )
    return layers


def names_under(module: nn.Module, children: list[str]) -> list[str]:
    """Names of the parameters of some children of a module, in its order."""
    return [name for name, _ in module.named_parameters() if name.split(".")[0] in children]
