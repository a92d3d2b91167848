"""Weights to start from: random, ImageNet's, a run's, or a file of ResNet weights; and what of them was used."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from pretrain.encoders import ENCODERS
from pretrain.model import TwoTower
from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD
from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME, find_model_folder, require_weights
from pretrain.weights.authors_checkpoint import is_authors_checkpoint, towers_of_authors
from pretrain.weights.files import read_weights
from pretrain.weights.identity import weights_sha256
from shards.errors import UserError

DEFAULT_BACKBONE = "resnet18"
FIRST_BLOCK = "layer1.0.conv1.weight"
"""Every ResNet has it; what stands before it in a name is the prefix that a wrapper put before all names."""

PREFERRED_PREFIXES = ("image_tower.trunk.", "encoder_q.", "module.encoder_q.", "student.backbone.", "teacher.backbone.")
"""Of several ResNets in a file the first of these counts: our image tower, MoCo's query, DINO's student."""

BLOCKS_TO_BACKBONE = {
    "layer3.22.conv3.weight": "resnet101",
    "layer3.5.conv3.weight": "resnet50",
    "layer4.1.conv2.weight": "resnet18",
}
"""A key that only this backbone, of those we have, holds; looked for in this order."""

NAMES_IN_MESSAGE = 3


@dataclass(frozen=True)
class LoadedEncoder:
    """A trunk to put a head on.

    Attributes:
        module: (n, 3, height, width) normalised images → (n, num_features).
        num_features: of its output.
        backbone: its name, such as "resnet18".
        weights: what was asked for, as results show it.
        projection: from features to the embedding, for weights that were trained with one.
        on_sphere: whether the embedding is scaled to length 1.
        mean, std: by which the red, green and blue channel in [0, 1] are normalised.
        report: a sentence on what was taken from where.
        unused: names of the file's tensors that were not.
        weights_sha256: of the `model.safetensors` that it is of, None for weights that are no towers of ours.
    """

    module: nn.Module
    num_features: int
    backbone: str
    weights: str
    projection: nn.Linear | None = None
    on_sphere: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    report: str = ""
    unused: list[str] = field(default_factory=list)
    weights_sha256: str | None = None


def load_encoder(
    weights: str,
    *,
    backbone: str = "auto",
    imagenet_file: Path | None = None,
    seed: int = 0,
    setting: str = "weights",
    in_channels: tuple[int, ...] = (3,),
) -> LoadedEncoder:
    """The image trunk that a setting names.

    Args:
        weights: "random", "imagenet", a run folder, a model folder, a model on the hub (`owner/name`), or a
            .safetensors or .pth file: of torchvision's or timm's ResNet-18, -50 or -101, whatever stands before its
            names, or of SoundingEarth's authors.
        backbone: of random and imagenet weights; "auto" is resnet18. For others it must be "auto" or theirs.
        imagenet_file: torchvision's ImageNet weights of that backbone, where they can't be fetched.
        seed: of random weights.
        setting: that `weights` comes from, for messages.
        in_channels: that the trunk of a file may have; that of a sound tower alone has 1.

    Raises:
        UserError: nothing there, nothing in it fits, or it is of another architecture.
    """
    if weights == "random":
        return _random(DEFAULT_BACKBONE if backbone == "auto" else backbone, seed)
    if weights == "imagenet":
        return _imagenet(DEFAULT_BACKBONE if backbone == "auto" else backbone, imagenet_file)
    require_weights(weights, setting)
    path = Path(weights)
    checksum = weights_sha256(weights)
    trunk = _file(path, in_channels) if path.is_file() and not _is_of_model_folder(path) else _run(path)
    if backbone not in ("auto", trunk.backbone):
        raise UserError(f"backbone must be auto or that of the weights, {trunk.backbone}, got {backbone}")
    return replace(trunk, weights_sha256=checksum)


def _random(backbone: str, seed: int) -> LoadedEncoder:
    # Beside the caller's random state, so that weights depend on their seed alone, on every process.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, num_features = ENCODERS[backbone](in_channels=3, norm="batch")
    return LoadedEncoder(module, num_features, backbone, "random", report=f"random {backbone}, seed {seed}")


def _imagenet(backbone: str, file: Path | None) -> LoadedEncoder:
    if file is None:
        published = torchvision.models.get_model_weights(backbone).DEFAULT
        file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(published.url)
        if not file.is_file():
            try:
                published.get_state_dict(progress=True, check_hash=True)
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"torchvision's ImageNet weights of {backbone} are not in {file.parent} and can't be fetched "
                    f"({' '.join(str(error).split())[:100]}); put {file.name} there, or give it as imagenet_file"
                ) from error
    trunk = _file(file)
    if trunk.backbone != backbone:
        raise UserError(f"imagenet_file {file} holds a {trunk.backbone}, backbone is {backbone}; give the other's file")
    return replace(trunk, weights="imagenet")


def _is_of_model_folder(path: Path) -> bool:
    """Whether a file is the weights of a model folder of ours, which says how to normalise images."""
    return path.name == WEIGHTS_NAME and "image_encoder" in _config_beside(path)


def _config_beside(path: Path) -> dict[str, Any]:
    """`config.json` of the folder that a file lies in, empty where there is none to be read."""
    try:
        record = json.loads((path.parent / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _normalisation(path: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation of images for the weights in a file: as a release says beside it, else ImageNet's."""
    record = _config_beside(path)
    if not {"image_encoder", "image_mean", "image_std"} <= record.keys():
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(record["image_mean"]), tuple(record["image_std"])


def _run(path: Path) -> LoadedEncoder:
    towers = TwoTower.from_pretrained(find_model_folder(path.parent if path.is_file() else path))
    return _image_tower(towers, path, f"the image tower of {path}, {towers.config.image_encoder}")


def _image_tower(towers: TwoTower, path: Path, report: str) -> LoadedEncoder:
    tower, config = towers.image_tower, towers.config
    return LoadedEncoder(
        tower.trunk,
        tower.num_features,
        config.image_encoder,
        str(path),
        projection=tower.projection,
        on_sphere=config.on_sphere,
        mean=config.image_mean,
        std=config.image_std,
        report=report,
    )


def _file(path: Path, in_channels: tuple[int, ...] = (3,)) -> LoadedEncoder:
    whole = read_weights(path)
    if is_authors_checkpoint(whole):
        towers, report = towers_of_authors(whole, str(path))
        return _image_tower(towers, path, f"{path}: {report}")
    prefix = _prefix(whole, path)
    state = {key.removeprefix(prefix): value for key, value in whole.items() if key.startswith(prefix)}
    backbone = next((name for key, name in BLOCKS_TO_BACKBONE.items() if key in state), None)
    if backbone is None:
        raise _other_architecture(path, f"it has neither {' nor '.join(BLOCKS_TO_BACKBONE)}")
    found = _input_channels(state, "")
    module, num_features = ENCODERS[backbone](in_channels=found if found in in_channels else 3, norm="batch")
    own = module.state_dict()
    _check_architecture(path, backbone, state, own)
    module.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)
    unused = sorted(key for key in whole if key.removeprefix(prefix) not in own or not key.startswith(prefix))
    report = f"{len(whole) - len(unused)} tensors of {backbone} from {path}"
    report += f" (named {prefix}…)" if prefix else ""
    report += f", {len(unused)} in it not used{': ' if unused else ''}{', '.join(unused[:NAMES_IN_MESSAGE])}"
    report += ", …" if len(unused) > NAMES_IN_MESSAGE else ""
    mean, std = _normalisation(path)
    return LoadedEncoder(module, num_features, backbone, str(path), mean=mean, std=std, report=report, unused=unused)


def _prefix(state: dict[str, Tensor], path: Path) -> str:
    """What stands before the names of the ResNet in a file."""
    prefixes = sorted(
        key.removesuffix(FIRST_BLOCK) for key in state if key == FIRST_BLOCK or key.endswith(f".{FIRST_BLOCK}")
    )
    # Of an image and a sound tower the one with three channels sees images.
    for_images = [prefix for prefix in prefixes if _input_channels(state, prefix) == 3] or prefixes
    if not for_images:
        shown = ", ".join(sorted(state)[:NAMES_IN_MESSAGE])
        raise UserError(
            f"{path} holds no ResNet with torchvision's or timm's names, such as {FIRST_BLOCK}; nothing in it "
            f"matched, its {len(state)} tensors are named like {shown}"
        )
    if len(for_images) == 1:
        return for_images[0]
    chosen = next((prefix for prefix in PREFERRED_PREFIXES if prefix in for_images), None)
    if chosen is None:
        shown = ", ".join(repr(prefix) for prefix in for_images)
        raise UserError(f"{path} holds several ResNets, named {shown}; save the one that is meant by itself")
    return chosen


def _input_channels(state: dict[str, Tensor], prefix: str) -> int:
    stem = state.get(f"{prefix}conv1.weight")
    return stem.shape[1] if stem is not None and stem.ndim == 4 else 0


def _check_architecture(path: Path, backbone: str, state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Refuses weights that fit a backbone in part, and those of a deeper network that holds it."""
    wrong = next((key for key in own if key in state and state[key].shape != own[key].shape), None)
    if wrong is not None:
        shapes = f"{wrong} has the shape {tuple(state[wrong].shape)}, in {backbone} {tuple(own[wrong].shape)}"
        raise _other_architecture(path, shapes)
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise _other_architecture(path, f"it lacks {len(missing)} of {len(own)} tensors of {backbone}: {missing[0]}, …")
    more = [key for key in state if key not in own and key.startswith(("conv", "bn", "layer"))]
    if more:
        raise _other_architecture(path, f"it holds {len(more)} tensors that {backbone} has not: {more[0]}, …")


def _other_architecture(path: Path, why: str) -> UserError:
    names = " or ".join(sorted(set(BLOCKS_TO_BACKBONE.values())))
    return UserError(f"{path} is of another architecture than {names}: {why}; give weights of one of these")
