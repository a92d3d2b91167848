"""A single encoder as a file with torchvision's or timm's parameter names, and the code that loads it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.group_norm import MOST_GROUPS
from pretrain.model import Tower, TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.releasing.stored_weights import write_weights
from pretrain.weights.encoder_in_file import CONFIG_ENTRY
from pretrain.weights.encoder_weights import load_encoder
from pretrain.weights.same_embeddings import Probe, require_same
from shards.errors import UserError

NUM_CLASSES = 1000
"""Number of classes of the classifier that torchvision's and timm's ResNets have by default."""

CLASSIFIER = "fc."


@dataclass(frozen=True)
class EncoderFile:
    """One of the two encoders, and the file that holds it alone.

    Attributes:
        modality: "image" or "sound".
        encoder: its name in `ENCODERS`.
        norm: "batch", "sync" or "group".
        in_channels: number of input channels.
        network: the encoder itself.
    """

    modality: str
    encoder: str
    norm: str
    in_channels: int
    network: Encoder

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.modality}_trunk.safetensors"

    @property
    def is_of_torchvision(self) -> bool:
        """Whether torchvision and timm have this network, so that their strict loading succeeds."""
        return self.network.library == "torchvision"

    @property
    def is_of_timm(self) -> bool:
        """Whether timm has this network and torchvision does not."""
        return self.network.library == "timm"

    @property
    def has_group_norm(self) -> bool:
        """Whether the network has group norm, where torchvision's and timm's default is batch norm."""
        return self.norm == "group"

    @property
    def torchvision_code(self) -> str:
        """A script that loads the file into torchvision's network."""
        options = f"norm_layer=lambda channels: nn.GroupNorm({MOST_GROUPS}, channels)" if self.has_group_norm else ""
        lines = [f"trunk = torchvision.models.{self.encoder}({options})"]
        if self.in_channels == 1:
            lines.append("trunk.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)")
        lines.append(f'trunk.load_state_dict(load_file("{self.name}"))')
        imports = ["import torchvision", "from safetensors.torch import load_file", "from torch import nn", ""]
        return "\n".join([*imports, *lines, "trunk.fc = nn.Identity()"])

    @property
    def timm_code(self) -> str:
        """A script that loads the file into timm's network."""
        if self.is_of_timm:
            arguments = ", ".join(f"{name}={value!r}" for name, value in self.network.library_arguments.items())
            return f'import timm\n\ntrunk = timm.create_model({arguments}, checkpoint_path="{self.name}")'
        return (
            f"import timm\n\n"
            f'trunk = timm.create_model("{self.encoder}", {self._timm_options}checkpoint_path="{self.name}")\n'
            "trunk.reset_classifier(0)"
        )

    @property
    def timm_code_for_other_classes(self) -> str:
        """A script that loads the file into timm's network with a new classifier, here with ten classes."""
        return (
            f"import timm\n\n"
            f'trunk = timm.create_model("{self.encoder}", {self._timm_options}num_classes=10, pretrained=True,\n'
            f'                          pretrained_cfg_overlay={{"file": "{self.name}"}})'
        )

    @property
    def _timm_options(self) -> str:
        options = "in_chans=1, " if self.in_channels == 1 else ""
        return options + ('norm_layer="groupnorm", ' if self.has_group_norm else "")


def untried() -> list[str]:
    """Returns the ways to load a release that `check_encoder` and `check_towers` do not test."""
    timm = [] if importlib.util.find_spec("timm") is not None else ["timm, which is not installed"]
    return ["torch.hub", "TorchGeo", *timm]


def encoder_files(towers: TwoTower) -> tuple[EncoderFile, EncoderFile]:
    """Returns the files of the image encoder and of the sound encoder."""
    config = towers.config
    return (
        EncoderFile("image", config.image_encoder, config.norm, 3, towers.image_tower.trunk),
        EncoderFile("sound", config.sound_encoder, config.norm, 1, towers.sound_tower.trunk),
    )


def write_encoder(folder: Path, file: EncoderFile, towers: TwoTower, *, half: bool = False) -> None:
    """Writes one encoder into a folder.

    Its metadata says that the classifier is one of zeros.
    """
    metadata = {"format": "pt", "encoder": file.encoder, "norm": file.norm, "in_channels": str(file.in_channels)}
    if file.network.config is not None:
        metadata[CONFIG_ENTRY] = json.dumps(file.network.config)
    if file.is_of_torchvision:
        metadata["fc"] = "zeros that stand for a classifier, which was not trained; replace it by your own"
    write_weights(folder / file.name, stored_encoder(file, towers), half=half, metadata=metadata)


def stored_encoder(file: EncoderFile, towers: TwoTower) -> dict[str, Tensor]:
    """The tensors of an encoder's file, by name.

    Strict loading in torchvision and timm expects a classifier of 1,000 classes, which an encoder does not have: the
    file holds one of zeros, so that no key has to be changed.
    """
    tower = tower_of(towers, file)
    state = dict(tower.trunk.published_state())
    if file.is_of_torchvision:
        state[f"{CLASSIFIER}weight"] = torch.zeros(NUM_CLASSES, tower.num_features)
        state[f"{CLASSIFIER}bias"] = torch.zeros(NUM_CLASSES)
    return state


@torch.inference_mode()
def check_encoder(folder: Path, file: EncoderFile, towers: TwoTower, probes: list[Probe]) -> list[str]:
    """Loads an encoder's file with every library that has the network, and compares features with those of its tower.

    Args:
        folder: the folder with the file.
        file: the file to load.
        towers: the towers that it was written from, in evaluation mode, on the CPU.
        probes: the inputs to compare on.

    Returns:
        The libraries that loaded it.

    Raises:
        UserError: a library can't load it, or a feature differs in any bit.
    """
    path = folder / file.name
    own = file.network
    loaded: dict[str, nn.Module] = {}
    try:
        if file.is_of_timm:
            loaded["timm"] = _by_timm(path, file)
            if file.modality == "image":
                loaded["pretrain.weights.encoder_weights"] = _by_earshot(path, towers.config)
        elif not file.is_of_torchvision:
            _check_tensors(path, own)
        else:
            loaded["torchvision"] = _by_torchvision(path, file)
            if importlib.util.find_spec("timm") is not None:
                loaded["timm"] = _by_timm(path, file)
            if file.modality == "image" and not file.has_group_norm:
                loaded["pretrain.weights.encoder_weights"] = _by_earshot(path, towers.config)
    except (RuntimeError, OSError, KeyError, TypeError, SafetensorError) as error:
        message = " ".join(str(error).split())[:300]
        raise UserError(f"{file.name} can't be loaded back, so nothing was written: {message}") from error
    for probe in probes:
        inputs = (
            towers.prepare_images(probe.images) if file.modality == "image" else towers.prepare_sounds(probe.sounds)
        )
        ours = own(inputs)
        for library, encoder in loaded.items():
            require_same(ours, encoder.eval()(inputs), f"{file.modality} features of {probe.name} by {library}")
    return list(loaded)


def tower_of(towers: TwoTower, file: EncoderFile) -> Tower:
    """Returns the tower whose encoder a file holds."""
    return towers.image_tower if file.modality == "image" else towers.sound_tower


def _check_tensors(path: Path, own: Encoder) -> None:
    """Checks, for a network that only Earshot has, that the file's tensors equal the encoder's, by name and bit."""
    state: dict[str, Tensor] = load_file(path)
    published = own.published_state()
    if state.keys() != published.keys():
        raise KeyError("its tensor names differ from the encoder's")
    for name, value in published.items():
        require_same(value, state[name], f"tensors {name} of {path.name}")


def _by_torchvision(path: Path, file: EncoderFile) -> nn.Module:
    import torchvision

    norm_layer = (lambda channels: nn.GroupNorm(MOST_GROUPS, channels)) if file.has_group_norm else nn.BatchNorm2d
    trunk = torchvision.models.get_model(file.encoder, weights=None, norm_layer=norm_layer)
    if file.in_channels == 1:
        trunk.conv1 = nn.Conv2d(1, trunk.conv1.out_channels, 7, stride=2, padding=3, bias=False)
    trunk.load_state_dict(load_file(path))
    trunk.fc = nn.Identity()
    return trunk


def _by_timm(path: Path, file: EncoderFile) -> nn.Module:
    import timm

    if file.is_of_timm:
        network: nn.Module = timm.create_model(**file.network.library_arguments, checkpoint_path=str(path))
        return network
    options: dict[str, Any] = {"norm_layer": "groupnorm"} if file.has_group_norm else {}
    trunk: Any = timm.create_model(file.encoder, in_chans=file.in_channels, checkpoint_path=str(path), **options)
    trunk.reset_classifier(0)
    assert isinstance(trunk, nn.Module)
    return trunk


def _by_earshot(path: Path, config: TwoTowerConfig) -> nn.Module:
    trunk = load_encoder(str(path), image_size=config.image_size)
    if (trunk.mean, trunk.std) != (config.image_mean, config.image_std):
        raise RuntimeError("its images would be normalised differently")
    return trunk.module
