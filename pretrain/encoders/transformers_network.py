"""Sound encoders of the `transformers` library, `transformers:NAME|DIR`: Audio Spectrogram Transformers and CLAP's
audio towers, with the library's parameter names."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel, ClapAudioConfig, ClapAudioModel, ClapModel
from typing_extensions import override

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.published_files import PublishedFile, of_the_hub
from shards.errors import UserError
from shards.front_ends import FRONT_ENDS

VOLATILE = {
    *("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"),
    *("id2label", "label2id", "problem_type"),
}
"""Entries of a configuration that say nothing about the network."""


class TransformersEncoder(Encoder):
    """A network of `transformers` on log-mel spectrograms of one channel.

    Args:
        source: name on the hub, or folder.
        settings: the network's configuration, as `config.json` has it.
    """

    prefix = "network."
    front_end: str
    network_class: ClassVar[Any]

    def __init__(self, source: str, settings: dict[str, Any]) -> None:
        super().__init__()
        bands, needed = settings.get("num_mel_bins"), FRONT_ENDS.load(self.front_end).mel_bands
        if bands != needed:
            raise UserError(
                f"transformers:{source} takes {bands} mel bands, but {self.front_end} has {needed}; choose another "
                "encoder"
            )
        self.source = source
        self.settings = settings
        # Other entries say nothing about the network, and an untrusted one could make the library do anything.
        known = self.network_class.config_class().to_dict().keys() - VOLATILE
        described = {name: value for name, value in settings.items() if name in known}
        self.network: Any = self.network_class(self.network_class.config_class(**described))
        self.num_features = self.features_of(settings)

    @staticmethod
    def features_of(settings: Mapping[str, Any]) -> int:
        """Number of features of a configuration."""
        return int(settings["hidden_size"])

    @property
    @override
    def config(self) -> dict[str, Any]:
        return {"model_type": self.network_class.config_class.model_type, **self.settings}

    @override
    def published_file(self) -> PublishedFile | None:
        return None if os.path.isdir(self.source) else of_the_hub(self.source, ("model.safetensors",))

    def _layers_of(self, blocks: nn.ModuleList) -> list[list[str]]:
        """What comes before the blocks, each block, and what comes after."""
        names = [name for name, _ in self.named_parameters()]
        prefix = next(name for name, module in self.named_modules() if module is blocks)
        inside = [[name for name in names if name.startswith(f"{prefix}.{i}.")] for i in range(len(blocks))]
        first = names.index(inside[0][0])
        before = [name for name in names[:first] if not name.startswith(f"{prefix}.")]
        after = [name for name in names[first:] if not name.startswith(f"{prefix}.")]
        return [layer for layer in [before, *inside, after] if layer]


class SpectrogramTransformer(TransformersEncoder):
    """Audio Spectrogram Transformer (Gong et al., arXiv 2104.01778), for any number of frames.

    The features are the mean of the class and the distillation token.

    Args:
        source, settings: see `TransformersEncoder`.
        frames: of the input; None: those that it was trained on.
        sound_mean, sound_std: normalisation of the spectrograms.
    """

    front_end = "ast-16k"
    input_weights = ("embeddings.patch_embeddings.projection.weight",)
    network_class = ASTModel

    def __init__(
        self, source: str, settings: dict[str, Any], frames: int | None, sound_mean: float, sound_std: float
    ) -> None:
        super().__init__(source, {**settings, "max_length": frames or settings["max_length"]})
        self.sound_mean, self.sound_std = sound_mean, sound_std

    @property
    @override
    def config(self) -> dict[str, Any]:
        return {**super().config, "sound_mean": self.sound_mean, "sound_std": self.sound_std}

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, 1, 128, frames) → (n, num_features)."""
        features: Tensor = self.network(input_values=inputs[:, 0].transpose(1, 2)).pooler_output
        return features

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """The patch tokens on their grid of frequencies and times, (n, num_features, f, t)."""
        tokens: Tensor = self.network(input_values=inputs[:, 0].transpose(1, 2)).last_hidden_state
        return tokens[:, 2:].transpose(1, 2).unflatten(2, self.grid(self.settings["max_length"]))

    def grid(self, frames: int) -> tuple[int, int]:
        """Number of patches over the bands and over the frames."""
        patch, bands = self.settings["patch_size"], self.settings["num_mel_bins"]
        return (
            (bands - patch) // self.settings["frequency_stride"] + 1,
            (frames - patch) // self.settings["time_stride"] + 1,
        )

    @override
    def layers(self) -> list[list[str]]:
        """The embeddings, the transformer blocks, and the last norm."""
        count = self.settings["num_hidden_layers"]
        lists = (module for module in self.modules() if isinstance(module, nn.ModuleList))
        return self._layers_of(next(blocks for blocks in lists if len(blocks) == count))

    @override
    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fits the position embeddings to the number of frames.

        For fewer frames they are cut to the middle, for more they are interpolated linearly (AST, section 2.2, and its
        authors' code).
        """
        name = "embeddings.position_embeddings"
        stored = state.get(name)
        bands, wanted = self.grid(self.settings["max_length"])
        if stored is None or (stored.shape[1] - 2) % bands or (stored.shape[1] - 2) // bands == wanted:
            return dict(state)
        grid = stored[:, 2:].transpose(1, 2).unflatten(2, (bands, -1))
        if wanted < grid.shape[3]:
            start = (grid.shape[3] - wanted) // 2
            grid = grid[..., start : start + wanted]
        else:
            grid = F.interpolate(grid, (bands, wanted), mode="bilinear")
        return {**state, name: torch.cat([stored[:, :2], grid.flatten(2).transpose(1, 2)], dim=1)}

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        with _fetching(self.source):
            return ASTModel.from_pretrained(self.source, use_safetensors=True).state_dict(), self.source


class ClapAudioTower(TransformersEncoder):
    """The audio tower of CLAP, an HTSAT (Wu et al., arXiv 2211.06687; Chen et al., arXiv 2202.00874).

    Args:
        source, settings: see `TransformersEncoder`.
        frames: of the input; None: any that it takes.

    Raises:
        UserError: the input is too long, or the network is of the kind that fuses crops of long sounds.
    """

    front_end = "clap-48k"
    input_weights = ("audio_encoder.patch_embed.proj.weight",)
    network_class = ClapAudioModel
    sound_std = math.log(10) / 10
    """The network takes decibels."""

    def __init__(self, source: str, settings: dict[str, Any], frames: int | None) -> None:
        super().__init__(source, settings)
        most = self.settings["spec_size"] * (self.settings["spec_size"] // self.settings["num_mel_bins"])
        if frames is not None and frames > most:
            second = FRONT_ENDS.load(self.front_end).frames_to_seconds(1) or 0
            raise UserError(
                f"transformers:{source} takes at most {most} frames, {most * second:.2f} s, got {frames}; give a "
                "smaller --data.sound-seconds"
            )
        if self.settings.get("enable_fusion"):
            raise UserError(
                f"transformers:{source} is a CLAP that fuses crops of long sounds, which was trained on other mel "
                "filters; choose one without fusion, such as laion/clap-htsat-unfused"
            )

    @staticmethod
    @override
    def features_of(settings: Mapping[str, Any]) -> int:
        return int(settings["patch_embeds_hidden_size"] * 2 ** (len(settings["depths"]) - 1))

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, 1, 64, frames) → (n, num_features)."""
        features: Tensor = self.network(input_features=inputs.transpose(2, 3)).pooler_output
        return features

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """The last features by frequency and time, (n, num_features, 2, 32)."""
        features: Tensor = self.network(input_features=inputs.transpose(2, 3)).last_hidden_state
        return features

    @override
    def layers(self) -> list[list[str]]:
        """The patch embedding, the four stages, and the norms."""
        return self._layers_of(self.network.audio_encoder.layers)

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        # ClapAudioModel.from_pretrained would find none of its weights in a whole CLAP, and leave them random.
        with _fetching(self.source):
            if _read_config(self.source).model_type == ClapAudioConfig.model_type:
                return ClapAudioModel.from_pretrained(self.source, use_safetensors=True).state_dict(), self.source
            return ClapModel.from_pretrained(self.source, use_safetensors=True).audio_model.state_dict(), self.source


def build(
    source: str,
    *,
    channels: int,
    input_size: tuple[int, int] | None,
    norm: str,
    config: Mapping[str, Any] | None = None,
) -> Encoder:
    """Builds a network of `transformers` with random weights, for `ENCODERS`.

    Args:
        source: name on the hub, or folder.
        channels: of the input, 1.
        input_size: (mel bands, frames) of the input; None: those that it was trained on.
        norm: "batch" or "sync"; the network keeps its own normalisation layers.
        config: `Encoder.config` of an earlier build; None: that of `source`.

    Raises:
        UserError: there is no such network, it is of another kind, or it can't be built for this input or norm.
    """
    if channels != 1:
        raise UserError(f"transformers:{source} is an encoder for sounds; give it as model.sound_encoder")
    if norm == "group":
        raise UserError(f"model.norm must be batch or sync with transformers:{source}, which has its own norms")
    found = dict(config) if config is not None else _published_config(source)
    kind = found.pop("model_type", None)
    frames = input_size[1] if input_size else None
    try:
        if kind == ASTConfig.model_type:
            stated = None if config is None else (float(found.pop("sound_mean")), float(found.pop("sound_std")))
            return SpectrogramTransformer(source, found, frames, *(stated or _normalisation(source)))
        if kind == ClapAudioConfig.model_type:
            return ClapAudioTower(source, found, frames)
    except UserError:
        raise
    except (TypeError, ValueError, KeyError, RuntimeError, ZeroDivisionError) as error:
        message = " ".join(str(error).split())[:200]
        raise UserError(f"transformers:{source} can't be built: {type(error).__name__}: {message}") from error
    raise UserError(
        f"transformers:{source} is a {kind}; choose an {ASTConfig.model_type} (AST), a clap (CLAP) or another encoder"
    )


def _published_config(source: str) -> dict[str, Any]:
    config = _read_config(source)
    if config.model_type == "clap":
        config = config.audio_config
    return {name: value for name, value in config.to_dict().items() if name not in VOLATILE}


@lru_cache(maxsize=8)
def _read_config(source: str) -> Any:
    with _fetching(source):
        return transformers.AutoConfig.from_pretrained(source)


@lru_cache(maxsize=8)
def _normalisation(source: str) -> tuple[float, float]:
    """What its feature extractor subtracts and divides by; AudioSet's if it has none."""
    try:
        with _quiet():
            extractor = ASTFeatureExtractor.from_pretrained(source)
    except (OSError, ValueError):
        extractor = ASTFeatureExtractor()
    return float(extractor.mean), 2 * float(extractor.std)


@contextlib.contextmanager
def _fetching(source: str) -> Iterator[None]:
    """Names what is missing in one sentence."""
    try:
        with _quiet():
            yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        message = " ".join(str(error).split())[:200]
        remedy = "give a folder with config.json and model.safetensors, or a name on the hub such as "
        remedy += "MIT/ast-finetuned-audioset-10-10-0.4593 or laion/clap-htsat-unfused"
        is_folder = os.path.isdir(source)
        what = "is not a model of transformers" if is_folder else "is not a folder, and can't be fetched by name"
        raise UserError(f"transformers:{source} {what} ({message}); {remedy}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the library's report of weights that are not needed."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
