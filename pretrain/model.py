"""The two towers, which embed images and sounds in one space."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from pretrain.cards import TAGS, card
from pretrain.encoders import CONFIGURED_FAMILIES, ENCODERS
from pretrain.encoders.building import build_encoder
from pretrain.encoders.projection import build_projection
from pretrain.encoders.running_statistics import keep_statistics
from pretrain.model_config import TwoTowerConfig, preprocessing
from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME, find_model_folder
from pretrain.stated_sizes import refuse_other_sizes
from shards.errors import UserError
from shards.front_ends import front_end_name
from shards.records import read_json, record_as, shortened, shown
from shards.schema import SpectrogramScale, SpectrogramSettings
from shards.spectrogram_scales import converted_bytes

MODEL_FORMAT_VERSION = 1
REMEDY = "copy the model folder again"

PREPROCESSING = "preprocessing"
"""Key of `config.json` that describes, for users without Earshot, how to prepare inputs."""

CARD_OF_BARE_TOWERS = card(
    "Audiovisual towers for overhead images and sound",
    "Saved by `TwoTower.save_pretrained`, without training information; `config.json` says how to prepare inputs.",
    front_matter="{{ card_data }}",
)


class Tower(nn.Module):
    """An encoder followed by a projection to the embedding.

    Args:
        encoder: name of the encoder in `ENCODERS`.
        channels: number of input channels.
        input_size: (height, width) of the input.
        embedding_dim: dimensions of the embedding.
        norm: "batch", "sync" or "group".
        config: `Encoder.config` of a stored model.
        head_hidden: see `build_projection`.

    Attributes:
        is_frozen: whether the encoder is not trained.
        keeps_statistics: whether its batch norms use their stored statistics while it is trained.
    """

    def __init__(
        self,
        encoder: str,
        channels: int,
        input_size: tuple[int, int],
        embedding_dim: int,
        norm: str,
        config: dict[str, Any] | None = None,
        head_hidden: int = 0,
    ) -> None:
        super().__init__()
        # "trunk" is part of the weights' names in every model folder, so the attribute keeps its name.
        self.trunk = build_encoder(encoder, channels=channels, input_size=input_size, norm=norm, config=config)
        self.num_features = self.trunk.num_features
        self.projection = build_projection(self.num_features, embedding_dim, head_hidden)
        self.is_frozen = False
        self.keeps_statistics = False

    def freeze(self) -> None:
        """Stops training the encoder: its weights stay, and its normalisation layers use their stored statistics."""
        self.is_frozen = True
        self.trunk.requires_grad_(False)
        self.trunk.eval()

    def unfreeze(self) -> None:
        """Trains the encoder again."""
        self.is_frozen = False
        self.trunk.requires_grad_(True)
        self.train(self.training)

    @override
    def train(self, mode: bool = True) -> Tower:
        """Sets the mode of all but a frozen encoder, and of batch norms that keep their statistics."""
        super().train(mode)
        if self.is_frozen:
            self.trunk.eval()
        elif self.keeps_statistics:
            keep_statistics(self.trunk)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, embedding_dim)."""
        embeddings: Tensor = self.projection(self.trunk(inputs))
        return embeddings


class TwoTower(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="earshot",
    tags=list(TAGS),
    model_card_template=CARD_OF_BARE_TOWERS,
):
    """An image tower and a sound tower with a shared embedding space (SoundingEarth, section IV-B)."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        image_size = (config.image_size, config.image_size)
        sound_size = (
            config.spectrogram.mel_bands // config.sound_pooling,
            config.num_frames // config.sound_pooling,
        )
        dim, norm, hidden = config.embedding_dim, config.norm, config.head_hidden
        self.image_tower = Tower(config.image_encoder, 3, image_size, dim, norm, config.image_encoder_config, hidden)
        self.sound_tower = Tower(config.sound_encoder, 1, sound_size, dim, norm, config.sound_encoder_config, hidden)
        self.config = dataclasses.replace(
            config,
            image_encoder_config=self.image_tower.trunk.config,
            sound_encoder_config=self.sound_tower.trunk.config,
        )
        self.image_mean: Tensor
        self.image_std: Tensor
        self.register_buffer("image_mean", torch.tensor(config.image_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(config.image_std).view(1, 3, 1, 1), persistent=False)
        self.own_bytes: Tensor | None
        self.register_buffer("own_bytes", None, persistent=False)

    def encode_image(self, images: Tensor) -> Tensor:
        """Embeds images.

        Args:
            images: (n, 3, height, width); uint8 pixels in [0, 255] are normalised here, floating-point
                values are assumed to be normalised already.

        Returns:
            (n, embedding_dim).
        """
        return self.project_image(self.image_features(images))

    def encode_sound(self, spectrograms: Tensor) -> Tensor:
        """Embeds crops of spectrograms.

        Args:
            spectrograms: (n, 1, mel bands, frames); uint8 as stored in shards is standardised here,
                floating-point values are assumed to be standardised already.

        Returns:
            (n, embedding_dim).
        """
        return self.project_sound(self.sound_features(spectrograms))

    def image_features(self, images: Tensor) -> Tensor:
        """Features of the images that `encode_image` takes: (n, features of the image encoder)."""
        features: Tensor = self.image_tower.trunk(self.prepare_images(images))
        return features

    def sound_features(self, spectrograms: Tensor) -> Tensor:
        """Features of the spectrograms that `encode_sound` takes: (n, features of the sound encoder)."""
        features: Tensor = self.sound_tower.trunk(self.prepare_sounds(spectrograms))
        return features

    def project_image(self, features: Tensor) -> Tensor:
        """Embeds image features: (n, features) → (n, embedding_dim)."""
        return self._finish(self.image_tower.projection(features))

    def project_sound(self, features: Tensor) -> Tensor:
        """Embeds sound features: (n, features) → (n, embedding_dim)."""
        return self._finish(self.sound_tower.projection(features))

    @property
    def is_frozen(self) -> bool:
        """Whether neither encoder is trained."""
        return self.image_tower.is_frozen and self.sound_tower.is_frozen

    def unfreeze(self) -> bool:
        """Trains all encoders; returns whether one was frozen."""
        frozen = [tower for tower in (self.image_tower, self.sound_tower) if tower.is_frozen]
        for tower in frozen:
            tower.unfreeze()
        return bool(frozen)

    def take_sounds_of(self, scale: SpectrogramScale) -> bool:
        """Has uint8 spectrograms of another scale converted to the scale that the model learned from.

        Args:
            scale: of the spectrograms that `encode_sound` will be given from now on.

        Returns:
            Whether there is something to convert.

        Raises:
            UserError: it can't be converted.
        """
        own = self.config.spectrogram.scale
        if scale == own:
            self.own_bytes = None
            return False
        self.own_bytes = torch.from_numpy(converted_bytes(scale, own)).to(self.image_mean.device)
        return True

    def standardise(self, spectrograms: Tensor) -> Tensor:
        """Bytes of the model's own scale → inputs of mean 0 and standard deviation 1 over its training set."""
        return (spectrograms.float() - self.config.spectrogram_mean) / self.config.spectrogram_std

    def prepare_images(self, images: Tensor) -> Tensor:
        """Converts images as taken by `encode_image` to inputs of the image encoder, (n, 3, height, width)."""
        if not images.is_floating_point():
            images = (images.float() / 255 - self.image_mean) / self.image_std
        return images.contiguous(memory_format=torch.channels_last)

    def prepare_sounds(self, spectrograms: Tensor) -> Tensor:
        """Converts spectrograms as taken by `encode_sound` to inputs of the sound encoder, (n, 1, height, width)."""
        if not spectrograms.is_floating_point():
            own = spectrograms if self.own_bytes is None else self.own_bytes[spectrograms.int()]
            spectrograms = self.standardise(own)
        if self.config.sound_pooling > 1:
            spectrograms = F.avg_pool2d(spectrograms, self.config.sound_pooling)
        return spectrograms.contiguous(memory_format=torch.channels_last)

    def _finish(self, embeddings: Tensor) -> Tensor:
        return F.normalize(embeddings.float(), dim=1) if self.config.on_sphere else embeddings

    @override
    def _save_pretrained(self, save_directory: Path) -> None:
        """Writes `config.json` and `model.safetensors` (on the CPU), for `save_pretrained` and `push_to_hub`."""
        record = {
            "format_version": MODEL_FORMAT_VERSION,
            **self.config.to_dict(),
            PREPROCESSING: preprocessing(self.config),
        }
        (save_directory / CONFIG_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        # safetensors' own writer hides which file system error occurred.
        (save_directory / WEIGHTS_NAME).write_bytes(serialize(weights))

    @classmethod
    @override
    def from_pretrained(  # type: ignore[override]  # an unknown keyword is an error here, not ignored
        cls,
        pretrained_model_name_or_path: Path | str,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: Path | str | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> TwoTower:
        """Loads the towers of a model folder, a run folder or a model on the hub, in evaluation mode, on the CPU.

        Args:
            pretrained_model_name_or_path: the folder, or `owner/name`.
            force_download, token, cache_dir, local_files_only, revision: see `pretrain.hub.fetch_files`.

        Raises:
            UserError: there is no model, or its weights do not fit its config.
        """
        folder = find_model_folder(
            Path(pretrained_model_name_or_path),
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )
        try:
            where = str(folder / CONFIG_NAME)
            record = record_as(dict[str, Any], read_json(folder / CONFIG_NAME, REMEDY), where, REMEDY)
            version = record.pop("format_version", None)
            if version is None:
                raise UserError(
                    f"{folder} has no towers of Earshot: {CONFIG_NAME} states no format_version, as in a downstream "
                    "run, which holds one network; give the folder of a pre-training run"
                )
            if version != MODEL_FORMAT_VERSION:
                raise UserError(
                    f"{where}: format_version is {shown(version)}, this Earshot reads {MODEL_FORMAT_VERSION}; "
                    "use the Earshot that wrote it"
                )
            # Repeats the other fields in one place, for users without Earshot.
            record.pop(PREPROCESSING, None)
            config = TwoTowerConfig.from_dict(record, where=where)
            # A folder may come from a third party: outside code that it names is imported only if the user allowed it.
            for encoder in (config.image_encoder, config.sound_encoder):
                ENCODERS.check_allowed(encoder, str(folder))
            refuse_unnamed_networks(config, folder)
            refuse_other_sizes(folder / WEIGHTS_NAME, config, lambda: cls(config))
            model = cls(config)
            model.load_state_dict(load_file(folder / WEIGHTS_NAME))
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            message = shortened(" ".join(str(error).split()), 200)
            raise UserError(f"the model in {folder} can't be loaded: {type(error).__name__}: {message}") from error
        return model.eval()


def refuse_unnamed_networks(config: TwoTowerConfig, folder: Path) -> None:
    """Rejects a model folder that would have to be completed from elsewhere.

    Raises:
        UserError: the config of a network of one of `CONFIGURED_FAMILIES` is missing.
    """
    for name in ("image_encoder", "sound_encoder"):
        encoder, settings = getattr(config, name), getattr(config, f"{name}_config")
        if encoder.partition(":")[0] in CONFIGURED_FAMILIES and not isinstance(settings, dict):
            raise UserError(f"{folder / CONFIG_NAME} must hold {name}_config for {encoder}; save the model again")


def refuse_other_spectrograms(model: SpectrogramSettings, data: SpectrogramSettings, where: str) -> None:
    """Rejects spectrograms that were computed differently from those that a model was trained on.

    Raises:
        UserError: names the first setting that differs.
    """
    known = front_end_name(model)
    remedy = f"shards built with --spectrogram {known}" if known else "shards with the same settings"
    ours, theirs = dataclasses.asdict(model), dataclasses.asdict(data)
    for name in ours:
        if ours[name] != theirs[name]:
            raise UserError(
                f"the spectrograms of {where} have {name} {theirs[name]}, but the model was trained with {name} "
                f"{ours[name]}; use {remedy}, or --force to use these anyway"
            )
