"""Which encoder a weights file holds, under which prefix, and whether it holds exactly that encoder's tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pretrain.encoders import ENCODERS
from pretrain.encoders.building import build_encoder
from shards.errors import UserError
from shards.records import json_as

PREFERRED_PREFIXES = ("image_tower.trunk.", "encoder_q.", "module.encoder_q.", "student.backbone.", "teacher.backbone.")
"""If a file holds several networks, the first prefix here wins: Earshot's image tower, MoCo's query, DINO's student."""

NAMES_IN_MESSAGE = 3

CONFIG_ENTRY = "encoder_config"
"""Entry of a released file's metadata: `Encoder.config` as JSON."""


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder in a file.

    Attributes:
        name: its name in `ENCODERS`.
        prefix: what a wrapper put before its published names.
        state: all tensors under the prefix, by published name.
        channels: number of input channels; 0 if it can't be determined.
        config: `Encoder.config` that the file states.
    """

    name: str
    prefix: str
    state: dict[str, Tensor]
    channels: int
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Candidate:
    """A network that a file may hold: its published weights as meta tensors, and the name of its input weight."""

    name: str
    own: dict[str, Tensor]
    input_weight: str

    @property
    def landmark(self) -> str:
        """The name that identifies the network: the first one that is nested more than one level deep."""
        return next((name for name in self.own if name.count(".") > 1), next(iter(self.own)))


def find_encoder(path: Path, whole: Mapping[str, Tensor], asked: str, channels: int = 3) -> FoundEncoder:
    """Finds the encoder in a file.

    Args:
        path: the file; one that Earshot released states which encoder it holds.
        whole: its tensors by name.
        asked: the expected encoder, or "auto"; a registered encoder is always recognised from its tensors.
        channels: of the encoder's input, for one that is not registered.

    Raises:
        UserError: the file holds no known encoder, or several.
    """
    stated, config = _stated_by(path)
    name = stated or asked
    if name in ENCODERS or name == "auto":
        candidates = [_candidate(registered) for registered in ENCODERS]
        found = [_found(path, whole, candidate) for candidate in candidates]
        possible = [(c, f) for c, f in zip(candidates, found, strict=True) if f is not None]
        if not possible:
            raise _nothing_found(path, whole, candidates[0].landmark)
        return min(possible, key=lambda pair: _distance(*pair))[1]
    candidate = _built_candidate(name, channels, config)
    found_one = _found(path, whole, candidate) or FoundEncoder(name, "", dict(whole), 0)
    return replace(found_one, config=config)


def check_fits(where: str, name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Rejects weights that fit an encoder only in part, and those of a larger network that contains it.

    Args:
        where: the file or another origin, for messages.
        name: the encoder's name.
        state: the file's weights, adapted to the encoder, by published name.
        own: the encoder's own weights, by published name.

    Raises:
        UserError: names the first tensor that does not fit.
    """
    wrong = next((key for key in own if key in state and state[key].shape != own[key].shape), None)
    if wrong is not None:
        shapes = f"{wrong} has shape {tuple(state[wrong].shape)}, {name} needs {tuple(own[wrong].shape)}"
        raise _other_architecture(where, name, shapes)
    missing = _missing(state, own)
    if missing:
        why = f"it lacks {len(missing)} of {len(own)} tensors of {name}: {missing[0]}, …"
        raise _other_architecture(where, name, why)
    beginnings = {key.split(".")[0] for key in own}
    more = [key for key in state if key not in own and key.split(".")[0] in beginnings]
    if more:
        raise _other_architecture(where, name, f"it holds {len(more)} tensors that {name} does not have: {more[0]}, …")


def _stated_by(path: Path) -> tuple[str | None, dict[str, Any] | None]:
    """Returns the encoder and its `config` that a released file states in its metadata, None for a registered one.

    Raises:
        UserError: the encoder is outside code that was not allowed, or its config can't be read.
    """
    if path.suffix != ".safetensors":
        return None, None
    with safe_open(path, "pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    name = metadata.get("encoder")
    if name is None or name in ENCODERS or ":" not in name:
        return None, None
    ENCODERS.check_allowed(name, str(path))
    where = f"{path}: {CONFIG_ENTRY} in its metadata"
    text = metadata.get(CONFIG_ENTRY)
    config = json_as(dict[str, Any], text, where, "release it again") if text else None
    return name, config


@cache
def _candidate(name: str) -> _Candidate:
    return _built_candidate(name, 3, None)


def _built_candidate(name: str, channels: int, config: dict[str, Any] | None) -> _Candidate:
    ENCODERS.load(name)  # a module that is first imported on the meta device keeps its constants there
    with torch.device("meta"):
        encoder = build_encoder(name, channels=channels, config=config)
    return _Candidate(name, encoder.published_state(), next(iter(encoder.input_weights), ""))


def _found(path: Path, whole: Mapping[str, Tensor], candidate: _Candidate) -> FoundEncoder | None:
    mark = candidate.landmark
    prefixes = sorted(key.removesuffix(mark) for key in whole if key == mark or key.endswith(f".{mark}"))
    if not prefixes:
        return None
    prefix = _chosen(path, prefixes, {p: _channels(whole, f"{p}{candidate.input_weight}") for p in prefixes})
    state = {key.removeprefix(prefix): value for key, value in whole.items() if key.startswith(prefix)}
    return FoundEncoder(candidate.name, prefix, state, _channels(state, candidate.input_weight))


def _chosen(path: Path, prefixes: list[str], channels: Mapping[str, int]) -> str:
    # Of an image tower and a sound tower, the one with three input channels is the image tower.
    for_images = [prefix for prefix in prefixes if channels[prefix] == 3] or prefixes
    if len(for_images) == 1:
        return for_images[0]
    chosen = next((prefix for prefix in PREFERRED_PREFIXES if prefix in for_images), None)
    if chosen is None:
        shown = ", ".join(repr(prefix) for prefix in for_images)
        raise UserError(f"{path} holds several networks, with prefixes {shown}; save the one you want by itself")
    return chosen


def _channels(state: Mapping[str, Tensor], name: str) -> int:
    weight = state.get(name)
    return weight.shape[1] if weight is not None and weight.ndim == 4 else 0


def _missing(state: Iterable[str], own: Iterable[str]) -> list[str]:
    # Old files lack batch norm's batch counters.
    return [key for key in own if key not in state and not key.endswith("num_batches_tracked")]


def _distance(candidate: _Candidate, found: FoundEncoder) -> tuple[float, int]:
    """Returns a sort key, smallest for the likeliest encoder: most of its tensors fit, and it is large."""
    own, state = candidate.own, found.state
    wrong = sum(key in state and state[key].shape != value.shape for key, value in own.items())
    return (len(_missing(state, own)) + wrong) / len(own), -len(own)


def _nothing_found(path: Path, whole: Mapping[str, Tensor], landmark: str) -> UserError:
    return UserError(
        f"{path} does not match any registered encoder, which has tensors such as {landmark}: its "
        f"{len(whole)} tensors are named like {', '.join(sorted(whole)[:NAMES_IN_MESSAGE])}; name its encoder, one of: "
        f"{ENCODERS.choices()}"
    )


def _other_architecture(where: str, name: str, why: str) -> UserError:
    return UserError(
        f"{where} does not have the architecture of {name}: {why}; give weights of one of: {ENCODERS.choices()}"
    )
