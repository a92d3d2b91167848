"""Which encoder the tensors in a file are of, under which prefix, and whether they are all of it and no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from pretrain.encoders import ENCODERS
from pretrain.encoders.building import build_encoder
from shards.errors import UserError

PREFERRED_PREFIXES = ("image_tower.trunk.", "encoder_q.", "module.encoder_q.", "student.backbone.", "teacher.backbone.")
"""Of several networks in a file the first of these counts: our image tower, MoCo's query, DINO's student."""

NAMES_IN_MESSAGE = 3


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder in a file.

    Attributes:
        name: as `ENCODERS` has it.
        prefix: what a wrapper put before its published names.
        state: all that stands under the prefix, by published names.
        channels: of its input; 0 where that can't be seen.
    """

    name: str
    prefix: str
    state: dict[str, Tensor]
    channels: int


@dataclass(frozen=True)
class _Candidate:
    """A network that a file may hold: its published weights without their values, and its input weight's name."""

    name: str
    own: dict[str, Tensor]
    input_weight: str

    @property
    def landmark(self) -> str:
        """A name by which the network is looked for: the first that is not at the top."""
        return next((name for name in self.own if name.count(".") > 1), next(iter(self.own)))


def find_encoder(path: Path, whole: Mapping[str, Tensor], asked: str) -> FoundEncoder:
    """The encoder in a file.

    Args:
        path: of the file: one that we released says which encoder it holds.
        whole: its tensors by name.
        asked: the encoder that it should be, or "auto"; a registered one is told by its tensors in any case.

    Raises:
        UserError: no encoder is found, or several.
    """
    name = _named_by(path) or asked
    if name in ENCODERS or name == "auto":
        candidates = [_candidate(registered) for registered in ENCODERS]
        found = [_found(path, whole, candidate) for candidate in candidates]
        possible = [(c, f) for c, f in zip(candidates, found, strict=True) if f is not None]
        if not possible:
            raise _nothing_found(path, whole, candidates[0].landmark)
        return min(possible, key=lambda pair: _distance(*pair))[1]
    candidate = _candidate(name)
    return _found(path, whole, candidate) or FoundEncoder(name, "", dict(whole), 0)


def check_fits(path: Path, name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuses weights that fit an encoder in part, and those of a larger network that holds it.

    Args:
        path: of the file.
        name: of the encoder.
        state: the file's weights, adapted to it, by published names.
        own: the encoder's.

    Raises:
        UserError: names the first tensor that is wrong.
    """
    wrong = next((key for key in own if key in state and state[key].shape != own[key].shape), None)
    if wrong is not None:
        shapes = f"{wrong} has the shape {tuple(state[wrong].shape)}, in {name} {tuple(own[wrong].shape)}"
        raise _other_architecture(path, name, shapes)
    missing = _missing(state, own)
    if missing:
        why = f"it lacks {len(missing)} of {len(own)} tensors of {name}: {missing[0]}, …"
        raise _other_architecture(path, name, why)
    beginnings = {key.split(".")[0] for key in own}
    more = [key for key in state if key not in own and key.split(".")[0] in beginnings]
    if more:
        raise _other_architecture(path, name, f"it holds {len(more)} tensors that {name} has not: {more[0]}, …")


def _named_by(path: Path) -> str | None:
    """The encoder that a released file names in its metadata, where that is no registered one.

    Raises:
        UserError: it is outside code, which nobody allowed.
    """
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, "pt") as file:
        name: str | None = (file.metadata() or {}).get("encoder")
    if name is None or name in ENCODERS or ":" not in name:
        return None
    ENCODERS.check_allowed(name, str(path))
    return name


@cache
def _candidate(name: str) -> _Candidate:
    with torch.device("meta"):
        encoder = build_encoder(name, channels=3)
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
    # Of an image and a sound tower the one with three channels sees images.
    for_images = [prefix for prefix in prefixes if channels[prefix] == 3] or prefixes
    if len(for_images) == 1:
        return for_images[0]
    chosen = next((prefix for prefix in PREFERRED_PREFIXES if prefix in for_images), None)
    if chosen is None:
        shown = ", ".join(repr(prefix) for prefix in for_images)
        raise UserError(f"{path} holds several networks, named {shown}; save the one that is meant by itself")
    return chosen


def _channels(state: Mapping[str, Tensor], name: str) -> int:
    weight = state.get(name)
    return weight.shape[1] if weight is not None and weight.ndim == 4 else 0


def _missing(state: Iterable[str], own: Iterable[str]) -> list[str]:
    # Old files leave out how many batches were counted.
    return [key for key in own if key not in state and not key.endswith("num_batches_tracked")]


def _distance(candidate: _Candidate, found: FoundEncoder) -> tuple[int, bool, int, int]:
    """The smaller, the likelier: what is missing, whether a shape is wrong, how little of the file is explained."""
    own, state = candidate.own, found.state
    wrong = sum(key in state and state[key].shape != value.shape for key, value in own.items())
    return len(_missing(state, own)), wrong > 0, -len(own), wrong


def _nothing_found(path: Path, whole: Mapping[str, Tensor], landmark: str) -> UserError:
    return UserError(
        f"{path} holds no network under the names of a registered encoder, such as {landmark}; nothing in it matched, "
        f"its {len(whole)} tensors are named like {', '.join(sorted(whole)[:NAMES_IN_MESSAGE])}; name its encoder, "
        f"one of: {ENCODERS.choices()}"
    )


def _other_architecture(path: Path, name: str, why: str) -> UserError:
    return UserError(
        f"{path} is of another architecture than {name}: {why}; give weights of one of: {ENCODERS.choices()}"
    )
