"""What can be embedded: paths, PIL images, arrays and tensors, checked by type and shape before anything is decoded."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image

from retrieval.named_files import Kind, is_pattern, named_files, names_below
from shards.data_files import image_files, sound_files
from shards.schema import MOST_SAMPLE_RATE_HZ

IMAGES_TAKEN = (
    "a path, a PIL image, a uint8 array (height, width, 3) or a uint8 tensor (3, height, width); or a list of these, "
    "a folder or a pattern"
)
SOUNDS_TAKEN = (
    "a path, a pair (waveform, sampling rate in Hz), or a mapping with array and sampling_rate; or a list of these, a "
    "folder or a pattern; waveforms alone with sample_rate_hz=…"
)
MORE_THAN_8_BITS = ("I", "F")
"""PIL's modes of more than 8 bits a channel begin with one of these."""
WAVEFORM_SUBTYPES = {"int16": "PCM_16", "int32": "PCM_32", "float16": "FLOAT", "float32": "FLOAT", "float64": "FLOAT"}
"""Types of waveforms, and how libsndfile writes them without loss (float64 is rounded to float32)."""
MOST_CHANNELS = 64
MOST_WAVEFORM_BYTES = 2**31
"""A WAV file of 4 GB is the longest; a longer sound is given as a file."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Waveform:
    """A sound in memory.

    Attributes:
        samples: (samples, channels); floats of full scale 1, int16 or int32.
        sample_rate_hz: samples per second.
    """

    samples: NDArray[Any]
    sample_rate_hz: int

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """A WAV file of it, so that it is decoded like every other sound; the file is removed afterwards."""
        samples = self.samples.astype(np.float32) if self.samples.dtype.kind == "f" else self.samples
        with tempfile.TemporaryDirectory(prefix="earshot-sound-") as folder:
            path = Path(folder) / "waveform.wav"
            soundfile.write(path, samples, self.sample_rate_hz, subtype=WAVEFORM_SUBTYPES[self.samples.dtype.name])
            yield path


ImageSource = Path | Image.Image | Pixels
"""Of arrays, (height, width, 3)."""
SoundSource = Path | Waveform


def image_sources(images: Any) -> list[ImageSource]:
    """One image, several, or those of a folder, as a list.

    Args:
        images: a path, a PIL image, a uint8 array (height, width, 3) or (height, width), a uint8 tensor (3, height,
            width), an iterable of these, an array (n, height, width, 3), a tensor (n, 3, height, width), a folder, or a
            pattern with *, ? or **.

    Raises:
        TypeError: something is of another type.
        ValueError: an array has another shape or type of values.
        UserError: a folder or a pattern stands for no images.
    """
    if _is_path(images):
        return list(_files_at(Path(images), "images"))
    if isinstance(images, Image.Image) or (_is_array(images) and images.ndim <= 3):
        return [_image(images, "images")]
    return [_image(image, f"images[{number}]") for number, image in enumerate(_items(images, "images", IMAGES_TAKEN))]


def sound_sources(sounds: Any, sample_rate_hz: int | None = None) -> list[SoundSource]:
    """One sound, several, or those of a folder, as a list.

    Args:
        sounds: a path, (waveform, sampling rate), a mapping with "array" and "sampling_rate" (as the package datasets
            gives it), an iterable of these, a folder or a pattern; with `sample_rate_hz` also a waveform alone. A
            waveform is (samples,), an array (samples, channels) as of soundfile, or a tensor (channels, samples) as of
            torchaudio.
        sample_rate_hz: of waveforms that are given without their rate.

    Raises:
        TypeError: something is of another type, or a waveform has no rate.
        ValueError: a waveform has another shape or type of values, its rate is out of range, or `sample_rate_hz` is
            given where no waveform needs it.
        UserError: a folder or a pattern stands for no sounds.
    """
    items: list[Any]
    sources: list[SoundSource]
    if _is_path(sounds):
        items = sources = [*_files_at(Path(sounds), "sounds")]
    elif _is_one_sound(sounds):
        items, sources = [sounds], [_sound(sounds, sample_rate_hz, "sounds")]
    else:
        items = _items(sounds, "sounds", SOUNDS_TAKEN)
        sources = [_sound(sound, sample_rate_hz, f"sounds[{number}]") for number, sound in enumerate(items)]
    if sample_rate_hz is not None and items and not any(map(_is_array, items)):
        raise ValueError(
            "sample_rate_hz is for waveforms without a rate, and has no effect on files and on sounds with their own; "
            "omit it"
        )
    return sources


def names_of(sources: Sequence[Any], kind: str, given: Any = None) -> list[str]:
    """Names for messages and results: a path as it is, and for what is in memory its place, such as images[3].

    Args:
        sources: what is named.
        kind: "images" or "sounds".
        given: what they were made of; files of a folder or a pattern are named as the command `embed` does.
    """
    if _is_path(given) and sources and _stands_for_several(Path(given)):
        return names_below(Path(given), sources)
    return [str(source) if isinstance(source, Path) else f"{kind}[{i}]" for i, source in enumerate(sources)]


def _files_at(path: Path, kind: Kind) -> list[Path]:
    """The file at a path, or those of a folder or a pattern."""
    if path.is_dir():
        return image_files(path) if kind == "images" else sound_files(path)
    return named_files([path], kind).paths if _stands_for_several(path) else [path]


def _stands_for_several(path: Path) -> bool:
    return path.is_dir() or (is_pattern(path) and not path.exists())


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_array(value: Any) -> bool:
    """Whether it holds numbers; an array of paths is a list of paths."""
    return isinstance(value, torch.Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind not in "OUSV")


def _items(values: Any, what: str, taken: str) -> list[Any]:
    if not isinstance(values, Iterable) or isinstance(values, bytes | bytearray | Mapping):
        raise TypeError(f"{what} must be {taken}; got {_kind(values)}")
    return list(values)


def _image(image: Any, name: str) -> ImageSource:
    if _is_path(image):
        return Path(image)
    if isinstance(image, Image.Image):
        if image.mode.startswith(MORE_THAN_8_BITS):
            raise ValueError(
                f"{name} is a PIL image of mode {image.mode}, with more than 8 bits a channel; give the path of its "
                "file, whose values are scaled as in training"
            )
        return image
    if not _is_array(image):
        raise TypeError(f"{name} must be {IMAGES_TAKEN}; got {_kind(image)}")
    order, colours = ("(height, width, 3)", 2) if isinstance(image, np.ndarray) else ("(3, height, width)", 0)
    pixels: NDArray[Any] = image if isinstance(image, np.ndarray) else image.detach().cpu().numpy()
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{name} has values of type {pixels.dtype}, but pixels must be uint8 in [0, 255]; convert them"
        )
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[colours] != 3:
        kind = "an array" if isinstance(image, np.ndarray) else "a tensor"
        raise ValueError(f"{name} has shape {pixels.shape}, but {kind} must be {order} in red, green and blue")
    return pixels if colours == 2 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _is_one_sound(value: Any) -> bool:
    return (
        _is_pair(value)
        or _is_pair_of_words(value)
        or isinstance(value, Mapping)
        or (_is_array(value) and value.ndim <= 2)
    )


def _is_pair(value: Any) -> bool:
    """Whether it is a waveform with its rate; a list of two numbers is a mistake, which is reported as one."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Real)


def _is_pair_of_words(value: Any) -> bool:
    """Whether it is a waveform with a rate such as "48k", and no list of a waveform and a file."""
    if not (isinstance(value, tuple) and len(value) == 2 and _is_array(value[0]) and isinstance(value[1], str)):
        return False
    return re.fullmatch(r"\s*[\d.,_]+\s*(k|kilo)?(hz|hertz)?\s*", value[1], re.IGNORECASE) is not None


def _sound(sound: Any, sample_rate_hz: int | None, name: str) -> SoundSource:
    if _is_path(sound):
        return Path(sound)
    if _is_pair(sound) or _is_pair_of_words(sound):
        waveform, rate = sound
    elif isinstance(sound, Mapping) and {"array", "sampling_rate"} <= set(sound):
        waveform, rate = sound["array"], sound["sampling_rate"]
    else:
        waveform, rate = sound, sample_rate_hz
    if not _is_array(waveform):
        raise TypeError(f"{name} must be {SOUNDS_TAKEN}; got {_kind(sound)}")
    if rate is None:
        raise TypeError(f"{name} is a waveform without its sampling rate; give (waveform, rate), or sample_rate_hz=…")
    if not _is_number(rate):
        raise TypeError(f"the sampling rate of {name} must be a number of hertz, such as 48000, got {rate!r}")
    if not 1 <= rate <= MOST_SAMPLE_RATE_HZ or rate != int(rate):
        raise ValueError(
            f"the sampling rate of {name} must be a whole number in [1, {MOST_SAMPLE_RATE_HZ}], got {rate}"
        )
    return Waveform(_samples(waveform, name), int(rate))


def _samples(waveform: Any, name: str) -> NDArray[Any]:
    """A waveform as (samples, channels)."""
    is_array = isinstance(waveform, np.ndarray)
    samples: NDArray[Any] = waveform if is_array else waveform.detach().cpu().numpy()
    if samples.dtype.name not in WAVEFORM_SUBTYPES:
        raise ValueError(f"{name} has values of type {samples.dtype}; give floats of full scale 1, int16 or int32")
    order = "(samples, channels)" if is_array else "(channels, samples)"
    if samples.ndim == 1:
        samples = samples[:, None]
    elif samples.ndim == 2 and not is_array:
        samples = samples.T
    if samples.ndim != 2 or not 1 <= samples.shape[1] <= MOST_CHANNELS:
        kind = "an array" if is_array else "a tensor"
        shape = tuple(waveform.shape)
        raise ValueError(
            f"{name} has shape {shape}, but {kind} must be (samples,) or {order} with at most {MOST_CHANNELS} "
            "channels; give several sounds as a list"
        )
    if samples.nbytes > MOST_WAVEFORM_BYTES:
        raise ValueError(f"{name} has {samples.nbytes:,} bytes, limit {MOST_WAVEFORM_BYTES:,}; give it as a file")
    return samples


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return type(value).__name__
