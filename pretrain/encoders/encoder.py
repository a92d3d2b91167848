"""The interface of encoders: features, feature map, layers in depth order, and loading of published weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from pretrain.encoders.published_files import PublishedFile
from pretrain.encoders.timm_form import TimmForm
from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD
from shards.errors import UserError


class Encoder(nn.Module):
    """A network from (n, channels, height, width) to (n, `num_features`).

    A subclass sets `num_features` and defines `feature_map` and `layers`; the other defaults suit networks that end in
    global average pooling and take inputs of any size.

    Attributes:
        num_features: size of the output.
        name: in `ENCODERS`; set by `build_encoder`.
        image_mean, image_std: normalisation of images in [0, 1] that the published weights expect.
        front_end: name in `FRONT_ENDS` of the spectrograms that the network takes; "" for any.
        sound_mean, sound_std: normalisation of that front end's values, in its units.
        library: that has the same network with the same parameter names: "torchvision", "timm", or "" for none.
        prefix: of this module's parameter names before the published names.
        input_weights: published names of weights whose shape depends on the number of channels.
    """

    num_features: int
    name: str = ""
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    front_end: str = ""
    sound_mean: float = 0.0
    sound_std: float = 1.0
    library: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    input_weights: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, Any] | None:
        """What a model's `config.json` must hold to build the network elsewhere; None if its name is enough."""
        return None

    @property
    def library_arguments(self) -> dict[str, Any]:
        """Keywords with which the library's function builds the network without a classifier."""
        return {}

    def feature_map(self, inputs: Tensor) -> Tensor:
        """The feature map before pooling: (n, channels, height, width) → (n, c, h, w).

        Raises:
            UserError: the network has none.
        """
        raise UserError(f"{self.name or type(self).__name__} has no feature map; choose another encoder")

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, num_features)."""
        return self.feature_map(inputs).mean((2, 3))

    def layers(self) -> list[list[str]]:
        """Parameter names by layer, from input to output; each parameter is in exactly one layer.

        Raises:
            UserError: the network does not state its layers.
        """
        raise UserError(
            f"{self.name or type(self).__name__} does not state its layers, which layer-wise learning rates need; "
            "define layers(), or choose another protocol than tuned"
        )

    def stages(self) -> list[list[str]]:
        """Names of the submodules that compute the feature map in sequence, in groups, each of which halves the
        resolution at most: one ends at a quarter of it, the last at a sixteenth or a thirty-second.

        Raises:
            UserError: the network is not such a sequence, so it can't be used for segmentation.
        """
        raise UserError(
            f"{self.name or type(self).__name__} is not a sequence of stages that halve the resolution, "
            "which DeepLabv3+ needs; choose a ResNet, such as resnet18"
        )

    def set_input_size(self, input_size: tuple[int, int]) -> None:
        """Adapts the network and its weights to inputs of (height, width); convolutional networks need nothing."""

    def sync_norms(self) -> None:
        """Converts batch norm to synchronised batch norm."""
        for name, child in self.named_children():
            self.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))

    def published_state(self) -> dict[str, Tensor]:
        """The weights under the names of the library that has this network."""
        return {name.removeprefix(self.prefix): value for name, value in self.state_dict().items()}

    def timm_form(self) -> TimmForm | None:
        """The network as timm builds it by name; None if timm can't."""
        return None

    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adapts published weights to this network's channels and input size.

        For one input channel the weights of the three colours are summed, so that grey images give the same output.
        """
        own, adapted = self.published_state(), dict(state)
        for name in self.input_weights:
            weight = adapted.get(name)
            if weight is not None and weight.ndim == 4 and (own[name].shape[1], weight.shape[1]) == (1, 3):
                adapted[name] = weight.sum(1, keepdim=True)
        return adapted

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Loads `adapted` weights by published names; unknown names are ignored."""
        own = self.published_state()
        self.load_state_dict({f"{self.prefix}{name}": state[name] for name in own if name in state}, strict=False)

    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """Returns the weights that the library publishes for this network, downloaded if needed, and their origin.

        Raises:
            UserError: there are none, or they can't be downloaded.
        """
        raise UserError(f"there are no published weights for {self.name}; give a file or random")

    def published_file(self) -> PublishedFile | None:
        """The file that `fetch_published` takes, without fetching it; None: there is none, or it is not known."""
        return None


class BuildEncoder(Protocol):
    """Type of the objects in `ENCODERS`."""

    def __call__(self, *, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
        """Builds a network with random weights for inputs of (channels, height, width).

        The families of `ENCODERS` also take an `input_size` of None, which is the network's own, and those whose
        encoders have a `config` take it by that name.

        `norm` is "batch", "group", or "sync", which is batch norm until the trainer calls `sync_norms`.
        """
        ...


def checked_layers(encoder: Encoder) -> list[list[str]]:
    """Returns an encoder's layers after checking that each parameter is in exactly one.

    Raises:
        ValueError: a parameter is in no layer or in several.
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
    """Parameter names of some children of a module, in its order."""
    return [name for name, _ in module.named_parameters() if name.split(".")[0] in children]
