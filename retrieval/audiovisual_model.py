"""A trained model: images and sounds in, embeddings out, in Python as in the verb `embed`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.precision import autocast
from pretrain.training.embedding import embed_images, embed_sounds
from retrieval.embedding import choose_device, hear_as_learned
from retrieval.file_embedding import check_hears_files
from retrieval.file_inputs import ImageInput, Inputs, SoundInput
from retrieval.options import check_at_least, check_choice
from retrieval.similarity import negative_distances
from retrieval.source_embedding import Embedded, embed_sources, refuse_missing, rows_of
from retrieval.sources import image_sources, names_of, sound_sources
from retrieval.transforms import ImageTransform, SoundTransform
from shards.schema import SpectrogramSettings

LONG_LIST = 64
"""With `progress=None`, fewer items show no progress."""

OnError = Literal["raise", "skip"]


class AudiovisualModel:
    """Two towers that embed images and sounds in one space.

    Made by `retrieval.loading.load`, which explains the arguments.

    Attributes:
        towers: the `TwoTower`, in evaluation mode.
        weights: the folder or name that they were loaded from.
        precision: "fp32" or "bf16".
        crops: sound crops whose embeddings are averaged.
        force: whether spectrograms of other settings than the model's are taken.
        image_transform: an image → its evaluation view, (3, size, size) uint8.
    """

    def __init__(
        self,
        towers: TwoTower,
        weights: Path,
        *,
        precision: Literal["fp32", "bf16"] = "fp32",
        crops: int = 10,
        max_seconds: float = 600.0,
        bands: tuple[int, int, int] | None = None,
        force: bool = False,
    ) -> None:
        self.towers = towers
        self.weights = weights
        self.precision = precision
        self.crops = crops
        self.force = force
        self._max_seconds = max_seconds
        self.image_transform = ImageTransform(
            ImageInput(towers.config.rasters.with_bands(bands), towers.config.image_size)
        )

    def __repr__(self) -> str:
        config = self.config
        return (
            f"AudiovisualModel({str(self.weights)!r}: images by {config.image_encoder} at {config.image_size} px, "
            f"sounds by {config.sound_encoder} on {config.num_frames} frames, {config.embedding_dim} dimensions, "
            f"{self.device})"
        )

    @property
    def config(self) -> TwoTowerConfig:
        """Everything about the towers and their inputs."""
        return self.towers.config

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return self.towers.image_mean.device

    @property
    def sound_transform(self) -> SoundTransform:
        """A sound → evenly spaced crops of its spectrogram, (k, 1, mel bands, frames) uint8.

        Raises:
            UserError: the settings of the model's spectrograms are not published, and `force` was not set.
        """
        return SoundTransform(
            SoundInput(self._spectrogram_of_files(), self.config.num_frames, self.crops, self._max_seconds)
        )

    def to(self, device: str | torch.device) -> AudiovisualModel:
        """Moves the towers to a device ("cpu", "cuda" or "auto"), and returns the model.

        Raises:
            UserError: the device is not available.
        """
        self.towers.to(choose_device(str(device)))
        return self

    @overload
    def embed_images(
        self,
        images: Any,
        *,
        on_error: Literal["raise"] = "raise",
        names: Sequence[str] | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed_images(
        self,
        images: Any,
        *,
        on_error: Literal["skip"],
        names: Sequence[str] | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> Embedded: ...

    def embed_images(
        self,
        images: Any,
        *,
        on_error: OnError = "raise",
        names: Sequence[str] | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> NDArray[np.float32] | Embedded:
        """Embeds images, in their order.

        Args:
            images: a path, a PIL image, a uint8 array (height, width, 3) or a uint8 tensor (3, height, width); several
                of these as a list, arrays (n, height, width, 3) or tensors (n, 3, height, width); a folder, whose
                images `earshot.image_files(FOLDER)` lists in the same order; or a pattern with *, ? or **.
            on_error: "raise", or "skip" to leave out what can't be decoded and return it by name.
            names: of the images, for messages and results; by default such as images[3] or their paths, of a folder or
                a pattern relative to it, as the command `embed` names them.
            batch_size: images embedded at once.
            progress: whether to show progress; None: on a terminal, for long lists.

        Returns:
            (n, d) float32; with on_error="skip" an `Embedded`, whose rows and rejected items are all that was given.

        Raises:
            TypeError: something is of another type.
            ValueError: an array has another shape or type of values.
            UserError: an image can't be decoded, or an embedding is not finite.
        """
        sources = image_sources(images)
        names = _checked_names(names, sources, "images", images)
        return self._embed(sources, "images", self.image_transform.read, on_error, names, batch_size, progress)

    @overload
    def embed_sounds(
        self,
        sounds: Any,
        sample_rate_hz: int | None = None,
        *,
        on_error: Literal["raise"] = "raise",
        names: Sequence[str] | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed_sounds(
        self,
        sounds: Any,
        sample_rate_hz: int | None = None,
        *,
        on_error: Literal["skip"],
        names: Sequence[str] | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> Embedded: ...

    def embed_sounds(
        self,
        sounds: Any,
        sample_rate_hz: int | None = None,
        *,
        on_error: OnError = "raise",
        names: Sequence[str] | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> NDArray[np.float32] | Embedded:
        """Embeds sounds, in their order, each as the mean over its crops.

        Args:
            sounds: a path, a pair (waveform, rate in Hz), or a mapping with "array" and "sampling_rate"; several of
                these as a list; a folder, whose sounds `earshot.sound_files(FOLDER)` lists in the same order; or a
                pattern. A waveform is (samples,), an array (samples, channels) or a tensor (channels, samples), of
                floats of full scale 1, int16 or int32.
            sample_rate_hz: of waveforms that are given without their rate.
            on_error, names, batch_size, progress: as in `embed_images`.

        Returns:
            As `embed_images`.

        Raises:
            TypeError: something is of another type, or a waveform has no rate.
            ValueError: a waveform has another shape or type of values, or none needs `sample_rate_hz`.
            UserError: a sound can't be decoded, an embedding is not finite, or as `sound_transform`.
        """
        sources, read = sound_sources(sounds, sample_rate_hz), self.sound_transform.read
        names = _checked_names(names, sources, "sounds", sounds)
        hear_as_learned(self.towers, read.settings, "sound files")
        return self._embed(sources, "sounds", read, on_error, names, batch_size, progress)

    def similarity(self, embeddings: Any, others: Any) -> NDArray[np.float64]:
        """Negative Euclidean distances (n, m) of embeddings (n, d) and (m, d) of either modality; larger is nearer.

        It is the metric that the model was trained and evaluated by: embeddings are not normalised unless
        `config.on_sphere`, and then it orders as cosine similarity does. Both may also be an `Embedded`.

        Raises:
            TypeError: one is no array of numbers.
            ValueError: the shapes don't fit, or a value is not finite.
        """
        return negative_distances(rows_of(embeddings), rows_of(others))

    def _embed(
        self,
        sources: list[Any],
        kind: Literal["images", "sounds"],
        read: ImageInput | SoundInput,
        on_error: OnError,
        names: list[str],
        batch_size: int,
        progress: bool | None,
    ) -> NDArray[np.float32] | Embedded:
        check_choice("on_error", on_error, ("raise", "skip"))
        check_at_least(1, batch_size=batch_size)
        if on_error == "raise":
            refuse_missing(sources)
        with torch.inference_mode(), autocast(self.device, self.precision):
            embedded = embed_sources(
                sources,
                names,
                read,
                self._encode_images if kind == "images" else self._encode_sounds,
                dimensions=self.config.embedding_dim,
                batch_size=batch_size,
                title=f"embedding {kind}",
                progress=sys.stderr.isatty() and len(sources) >= LONG_LIST if progress is None else progress,
                stop_at_rejected=on_error == "raise",
            )
        return embedded.embeddings if on_error == "raise" else embedded

    def _encode_images(self, images: list[Inputs]) -> NDArray[np.float32]:
        return embed_images(self.towers, np.concatenate(images))

    def _encode_sounds(self, sounds: list[Inputs]) -> NDArray[np.float32]:
        return embed_sounds(self.towers, np.concatenate(sounds), list(map(len, sounds)))

    def _spectrogram_of_files(self) -> SpectrogramSettings:
        """The settings of files' spectrograms: the model's, or under `force` Earshot's own where those are unknown."""
        if self.force and not self.config.spectrogram.is_published:
            return SpectrogramSettings()
        check_hears_files(self.towers, self.weights)
        return self.config.spectrogram


def _checked_names(names: Any, sources: list[Any], kind: Literal["images", "sounds"], given: Any) -> list[str]:
    if names is None:
        return names_of(sources, kind, given)
    listed = [] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(name, str) for name in listed):
        raise TypeError(f"names must be a list with the name of each of {kind}, got {names!r}")
    if len(listed) != len(sources):
        raise ValueError(f"names must be of all {len(sources)} {kind}, got {len(listed)}")
    return listed
