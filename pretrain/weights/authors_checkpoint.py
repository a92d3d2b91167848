"""The checkpoints released by SoundingEarth's authors, converted to Earshot towers with the same embeddings."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import torch
from torch import Tensor

from pretrain.cards import Usage, card
from pretrain.encoders.soundingearth import STAGE_CHANNELS, STEM_CHANNELS
from pretrain.model import Tower, TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.weights.files import read_weights
from pretrain.weights.model_folder import MODEL_FOLDER, write_model_folder
from pretrain.weights.options import ConvertOptions
from pretrain.weights.same_embeddings import check_towers, fixed_probe
from shards.errors import UserError, end_on_sigterm
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS
from shards.untrusted_text import as_code

IMAGE_PREFIX = "img_encoder.module_list.0."
SOUND_PREFIX = "snd_encoder.module_list.0."
TEMPERATURE_KEY = "loss_function.tau"
"""Key of a learned temperature: only contrastive losses have one, and they compare embeddings on the unit sphere."""

PROJECTION = "fc."
IMAGE_SIZE = 192
NUM_FRAMES = 128
ENCODER_OF_DEPTH = {False: ("soundingearth-resnet18", 2), True: ("soundingearth-resnet50", 6)}
"""The encoder and the number of blocks in its third stage, keyed by whether its blocks are bottlenecks."""

ORIGIN = """Converted from {file}, a checkpoint of the authors of *Self-supervised Audiovisual Representation Learning
for Remote Sensing Data* (arXiv 2108.00688): {report}."""

INPUTS = """Images: the central 3/4 of the tile, resized to {size} px, normalised with ImageNet's mean and standard
deviation.
Sounds: {frames} consecutive frames of the spectrograms in the data set's release (source `soundingearth`), whose bytes
encode exp(log-mel / 10); spectrograms computed differently are not valid inputs. Embeddings are {sphere}."""


def is_authors_checkpoint(state: dict[str, Tensor]) -> bool:
    """Returns whether named tensors are those of such a checkpoint: both towers, or one of them."""
    return any(key.startswith((IMAGE_PREFIX, SOUND_PREFIX)) for key in _bare(state))


def towers_of_authors(state: dict[str, Tensor], where: str, *, on_sphere: bool | None = None) -> tuple[TwoTower, str]:
    """Builds the towers of a checkpoint, in evaluation mode on the CPU, and reports in a sentence what was loaded.

    The authors' 1 × 1 convolution followed by a mean over the map equals Earshot's mean over the map followed by a
    linear layer, because both operations are linear.

    Args:
        state: tensors by name, as returned by `read_weights`.
        where: name of the file, for error messages.
        on_sphere: whether embeddings are compared at length 1, as after a contrastive loss; None: true if the file
            holds a learned temperature. Contrastive losses without one leave no trace in the file.

    Raises:
        UserError: a tower is missing, or its architecture is not the released one.
    """
    state = _bare(state)
    parts = {prefix: _part(state, prefix, where) for prefix in (IMAGE_PREFIX, SOUND_PREFIX)}
    dims = [part[f"{PROJECTION}weight"].shape[0] for part in parts.values()]
    if dims[0] != dims[1]:
        raise UserError(f"{where}: the image tower embeds in {dims[0]} dimensions, the sound tower in {dims[1]}")
    spectrogram = RELEASED_SPECTROGRAMS
    scale = spectrogram.scale
    # The authors' network takes the value that a byte encodes; Earshot's takes (byte - mean) / std, made equal to it.
    std = 255 / (scale.high - scale.low)
    config = TwoTowerConfig(
        image_encoder=_encoder(parts[IMAGE_PREFIX], f"{where}: the image tower"),
        sound_encoder=_encoder(parts[SOUND_PREFIX], f"{where}: the sound tower"),
        embedding_dim=dims[0],
        on_sphere=TEMPERATURE_KEY in state if on_sphere is None else on_sphere,
        image_size=IMAGE_SIZE,
        num_frames=NUM_FRAMES,
        spectrogram_mean=-scale.low * std,
        spectrogram_std=std,
        spectrogram=spectrogram,
    )
    towers = TwoTower(config)
    _load(towers.image_tower, parts[IMAGE_PREFIX], f"{where}: the image tower")
    _load(towers.sound_tower, parts[SOUND_PREFIX], f"{where}: the sound tower")
    num_used = sum(len(part) for part in parts.values())
    unused = sorted(key for key in state if not key.startswith((IMAGE_PREFIX, SOUND_PREFIX)))
    report = (
        f"the authors' image tower ({config.image_encoder}) and sound tower ({config.sound_encoder}), "
        f"{num_used} tensors, {len(unused)} unused{': ' if unused else ''}{', '.join(map(as_code, unused[:3]))}"
    )
    return towers.eval(), report


def convert(options: ConvertOptions) -> None:
    """Runs the verb `convert` and prints what was loaded from where.

    Raises:
        UserError: as for `convert_authors_checkpoint`.
    """
    end_on_sigterm()
    print(convert_authors_checkpoint(options.file, options.out, on_sphere=options.on_sphere))


def open_checkpoint(file: Path, out: Path, *, on_sphere: bool | None = None) -> tuple[TwoTower, str]:
    """The towers of a checkpoint that is to be converted, and what was loaded; arguments as below.

    Raises:
        UserError: the file can't be read or is not such a checkpoint, or `out` has a model.
    """
    state = read_weights(file)
    if not is_authors_checkpoint(state):
        shown = ", ".join(sorted(state)[:3])
        raise UserError(
            f"{file} is not a checkpoint of SoundingEarth's authors: none of its tensor names starts with "
            f"{IMAGE_PREFIX} or {SOUND_PREFIX}; its names are like {shown}"
        )
    if (out / MODEL_FOLDER).exists():
        raise UserError(f"out {out} already has a model; choose another --out")
    return towers_of_authors(state, str(file), on_sphere=on_sphere)


def convert_authors_checkpoint(file: Path, out: Path, *, on_sphere: bool | None = None) -> str:
    """Writes `out/model/`, an Earshot model folder with an authors' checkpoint's embeddings, checked like a release.

    Args:
        file: the checkpoint; only tensors are unpickled.
        out: the folder to write `model/` into; it must not contain one yet.
        on_sphere: as for `towers_of_authors`.

    Returns:
        A sentence on what was loaded from where.

    Raises:
        UserError: the file can't be read or is not such a checkpoint, or `out` has a model or can't be written.
    """
    towers, report = open_checkpoint(file, out, on_sphere=on_sphere)
    sphere = "scaled to length 1" if towers.config.on_sphere else "compared as they are, by Euclidean distance"
    shape = f"(n, 1, {RELEASED_SPECTROGRAMS.mel_bands}, {NUM_FRAMES})"
    usage = Usage("FOLDER", towers.config.embedding_dim, IMAGE_SIZE, shape, RELEASED_SPECTROGRAMS.is_published)
    text = card(
        "SoundingEarth's released towers",
        ORIGIN.format(file=as_code(file.name), report=report),
        str(usage),
        INPUTS.format(size=IMAGE_SIZE, frames=NUM_FRAMES, sphere=sphere),
    )
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out {out} can't be written: {error.strerror}; choose another --out") from error
    probes = [fixed_probe(towers.config)]
    try:
        folder = write_model_folder(out, towers, text, check=lambda written: check_towers(written, towers, probes))
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # fails if it holds the model
                out.rmdir()
    return f"{report}; the model is in {folder} and gives the same embeddings as the checkpoint"


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strips the prefix that data-parallel wrappers add to names."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def _part(state: dict[str, Tensor], prefix: str, where: str) -> dict[str, Tensor]:
    part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    for name in ("conv1.weight", f"{PROJECTION}weight", f"{PROJECTION}bias"):
        if name not in part:
            raise UserError(
                f"{where} lacks {prefix}{name}; give a checkpoint with both towers, as the authors saved it"
            )
    return part


def _encoder(part: dict[str, Tensor], where: str) -> str:
    is_bottleneck = "layer1.0.conv3.weight" in part
    name, depth = ENCODER_OF_DEPTH[is_bottleneck]
    found_depth = len({key.split(".")[1] for key in part if key.startswith("layer3.")})
    # In both kinds of block, the first convolution of a stage has the stage's width.
    keys = ["conv1.weight", *(f"layer{i}.0.conv1.weight" for i in range(1, 5))]
    widths = tuple(part[key].shape[0] if key in part else 0 for key in keys)
    if found_depth != depth or widths != (STEM_CHANNELS, *STAGE_CHANNELS):
        raise UserError(
            f"{where} does not have the released architecture: its stem and stages have {_list(widths)} channels "
            f"and stage 3 has {found_depth} blocks; {name} has {_list((STEM_CHANNELS, *STAGE_CHANNELS))} and {depth}"
        )
    return name


def _list(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))


def _load(tower: Tower, part: dict[str, Tensor], where: str) -> None:
    weight, bias = part[f"{PROJECTION}weight"], part[f"{PROJECTION}bias"]
    trunk = {key: value for key, value in part.items() if not key.startswith(PROJECTION)}
    if weight.ndim not in (2, 4) or math.prod(weight.shape[2:]) != 1:
        raise UserError(f"{where}: fc.weight has shape {tuple(weight.shape)}, which is not a 1 x 1 convolution")
    try:
        tower.trunk.load_state_dict(_with_counters(trunk, tower.trunk.state_dict()))
        tower.projection.load_state_dict({"weight": weight.flatten(1), "bias": bias})
    except RuntimeError as error:
        message = " ".join(str(error).split())[:300]
        raise UserError(f"{where} does not fit the released architecture: {message}") from error


def _with_counters(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adds batch norm's batch counters, which old PyTorch did not write and evaluation does not use."""
    counters = {key: torch.zeros_like(value) for key, value in own.items() if key.endswith("num_batches_tracked")}
    return {**counters, **state}
