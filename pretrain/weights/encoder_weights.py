"""Image encoders with random or published weights, or those of a run or a file, and a report of what was loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.encoders import ENCODERS
from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import Encoder
from pretrain.encoders.projection import Projection
from pretrain.encoders.running_statistics import average_at_first
from pretrain.model import TwoTower
from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD, ImageNormalisation
from pretrain.model_files import CONFIG_NAME, PUBLISHED, WEIGHTS_NAME, find_model_folder, require_weights
from pretrain.weights.authors_checkpoint import is_authors_checkpoint, towers_of_authors
from pretrain.weights.encoder_in_file import check_fits, find_encoder
from pretrain.weights.files import read_weights
from pretrain.weights.identity import weights_sha256
from shards.errors import UserError
from shards.raster_settings import RasterSettings
from shards.records import DamagedRecord, read_json, record_as

DEFAULT_BACKBONE = "resnet18"

NAMES_IN_MESSAGE = 3


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder with weights, to put a head on.

    Attributes:
        module: (n, 3, height, width) normalised images → (n, num_features).
        num_features: number of output features.
        backbone: name of the encoder, such as "resnet18".
        weights: the weights that were requested, as results show them.
        projection: from features to the embedding, for weights that were trained with one.
        on_sphere: whether the embedding is scaled to length 1.
        mean, std: normalisation of the red, green and blue channels in [0, 1].
        report: a sentence on what was loaded from where.
        unused: names of the file's tensors that were not loaded.
        weights_sha256: SHA-256 of the `model.safetensors` that the weights belong to; None for weights that are not
            Earshot towers.
        rasters: how rasters became RGB for the images that the weights learned from.
    """

    module: Encoder
    num_features: int
    backbone: str
    weights: str
    projection: Projection | None = None
    on_sphere: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    report: str = ""
    unused: list[str] = field(default_factory=list)
    weights_sha256: str | None = None
    rasters: RasterSettings = field(default_factory=RasterSettings)


def load_encoder(
    weights: str,
    *,
    backbone: str = "auto",
    imagenet_file: Path | None = None,
    seed: int = 0,
    setting: str = "weights",
    channels: tuple[int, ...] = (3,),
    image_size: int = 0,
) -> LoadedEncoder:
    """Loads the image encoder that a setting names.

    Args:
        weights: "random", "imagenet", "pretrained", the folder of a run of pre-training or of a downstream benchmark,
            a model folder, a model on the hub (`owner/name`), or a .safetensors or .pth file with an encoder in
            `ENCODERS` or the one that `backbone` names, under any prefix, or a checkpoint of SoundingEarth's authors.
        backbone: the encoder's name; "auto" is resnet18 for random and published weights, else the weights' encoder.
        imagenet_file: a file with that encoder's published weights, for when they can't be downloaded.
        seed: seed of random weights.
        setting: name of the setting that `weights` comes from, for messages.
        channels: numbers of input channels that an encoder in a file may have; a sound tower's encoder has 1.
        image_size: side of the images, for encoders that are built for one size; 0: the encoder's own.

    Raises:
        UserError: the weights don't exist, nothing in them fits, or they have another architecture.
    """
    input_size = (image_size, image_size) if image_size else None
    name = DEFAULT_BACKBONE if backbone == "auto" else backbone
    if weights == "random":
        return _random(name, seed, input_size)
    if weights in PUBLISHED:
        return _published(weights, name, imagenet_file, input_size, channels[0])
    require_weights(weights, setting)
    path = Path(weights)
    checksum = weights_sha256(weights)
    file = path if path.is_file() else find_model_folder(path) / WEIGHTS_NAME
    loaded = _run(path) if _has_towers(file) else _file(file, backbone, input_size, channels)
    if backbone not in ("auto", loaded.backbone):
        raise UserError(f"backbone must be auto or that of the weights, {loaded.backbone}, got {backbone}")
    if input_size:
        loaded.module.set_input_size(input_size)
    return replace(loaded, weights=weights, weights_sha256=checksum)


def rasters_of_weights(weights: str) -> RasterSettings:
    """How rasters became RGB for the images that weights learned from, without loading them; as `load_encoder`.

    Raises:
        UserError: there is no model folder at that path.
    """
    if weights in ("random", *PUBLISHED):
        return RasterSettings()
    path = Path(weights)
    beside = path if path.is_file() else find_model_folder(path) / WEIGHTS_NAME
    return _rasters_of(_config_beside(beside), beside)


def _built(
    name: str,
    channels: int,
    input_size: tuple[int, int] | None,
    seed: int = 0,
    config: dict[str, Any] | None = None,
) -> Encoder:
    """Builds an encoder without touching the caller's random state, so that its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(name, channels=channels, input_size=input_size, config=config)


def _random(name: str, seed: int, input_size: tuple[int, int] | None) -> LoadedEncoder:
    module = _built(name, 3, input_size, seed)
    average_at_first(module)
    return LoadedEncoder(module, module.num_features, name, "random", report=f"random {name}, seed {seed}")


def _published(
    weights: str, name: str, file: Path | None, input_size: tuple[int, int] | None, channels: int
) -> LoadedEncoder:
    if file is not None:
        loaded = _file(file, "auto" if weights == "imagenet" else name, input_size)
        if loaded.backbone != name:
            raise UserError(
                f"imagenet_file {file} holds a {loaded.backbone}, but backbone is {name}; give a file of {name}"
            )
        return replace(loaded, weights=weights)
    module = _built(name, channels, input_size)
    if weights == "imagenet" and module.library == "timm":
        raise UserError(f"imagenet means torchvision's weights, but the encoder {name} is from timm; use pretrained")
    state, where = module.fetch_published()
    adapted = module.adapted(state)
    check_fits(where, name, adapted, module.published_state())
    return _loaded(module, name, adapted, weights=weights, where=where)


def _has_towers(path: Path) -> bool:
    """Returns whether a file holds two towers, by the config beside it; that of a downstream run holds one network."""
    return path.name == WEIGHTS_NAME and "format_version" in _config_beside(path)


def _config_beside(path: Path) -> dict[str, Any]:
    """Reads `config.json` in a file's folder; empty if there is none or it can't be read."""
    try:
        record = read_json(path.parent / CONFIG_NAME)
    except DamagedRecord:
        return {}
    return record if isinstance(record, dict) else {}


def _rasters_of(config: dict[str, Any], path: Path) -> RasterSettings:
    """The raster settings in the config beside a file of weights; the defaults where it states none."""
    try:
        return RasterSettings.from_dict(config.get("rasters") or {})
    except (ValueError, TypeError) as error:
        raise UserError(f"{path.parent / CONFIG_NAME} states rasters that can't be used: {error}") from error


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
        rasters=config.rasters,
        report=report,
    )


def _file(
    path: Path, backbone: str, input_size: tuple[int, int] | None, channels: tuple[int, ...] = (3,)
) -> LoadedEncoder:
    whole = read_weights(path)
    if is_authors_checkpoint(whole):
        towers, report = towers_of_authors(whole, str(path))
        return _image_tower(towers, path, f"{path}: {report}")
    record = _config_beside(path)
    found = find_encoder(path, whole, _asked_of(record, backbone, path), channels[0])
    allowed = found.channels if found.channels in channels else 3
    module = _built(found.name, allowed, input_size, config=found.config)
    state = module.adapted(found.state)
    check_fits(str(path), found.name, state, module.published_state())
    loaded = _loaded(module, found.name, state, weights=str(path), where=str(path))
    own = module.published_state().keys()
    taken = own if found.state.keys() & own else found.state.keys()
    unused = sorted(k for k in whole if not k.startswith(found.prefix) or k.removeprefix(found.prefix) not in taken)
    report = f"{len(whole) - len(unused)} tensors of {found.name} from {path}"
    report += f" (named {found.prefix}…)" if found.prefix else ""
    report += f", {len(unused)} unused{': ' if unused else ''}{', '.join(unused[:NAMES_IN_MESSAGE])}"
    report += ", …" if len(unused) > NAMES_IN_MESSAGE else ""
    if {"image_encoder", "image_mean", "image_std"} <= record.keys():
        kept = record_as(ImageNormalisation, record, str(path.parent / CONFIG_NAME), "correct it, or remove it")
        loaded = replace(loaded, mean=kept.image_mean, std=kept.image_std)
    return replace(loaded, report=report, unused=unused, rasters=_rasters_of(record, path))


def _asked_of(record: dict[str, Any], backbone: str, path: Path) -> str:
    """The encoder to look for in a file: that of the settings, or the one that a downstream run states beside it."""
    name = record.get("image_encoder")
    if backbone != "auto" or "format_version" in record or not isinstance(name, str):
        return backbone
    ENCODERS.check_allowed(name, str(path))
    return name


def _loaded(module: Encoder, name: str, state: dict[str, Tensor], *, weights: str, where: str) -> LoadedEncoder:
    module.load_published(state)
    mean, std = module.image_mean, module.image_std
    return LoadedEncoder(module, module.num_features, name, weights, mean=mean, std=std, report=f"{name} from {where}")
