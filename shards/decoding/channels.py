"""How the channels of a recording become one: averaged, or one of them where averaging would be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shards.errors import RejectedPair

AUTO, MEAN = "auto", "mean"

OPPOSITE_PHASE = -0.9
"""Two channels whose correlation is below it cancel when they are averaged, as those of a miswired microphone."""

MIN_CHANNELS_TO_SELECT = 4
"""With this number of channels or more, the first is used: that of ambisonic recordings (B-format) is omnidirectional,
and the others are differences that must not be averaged."""

LOUDEST_FLOAT = 8.0
"""Peak (18 dB above full scale) beyond which samples are on the scale of integers."""

INTEGER_SCALES = (2.0**15, 2.0**23, 2.0**31)
"""Full scale of integer samples of 16, 24 and 32 bits."""

FULL_SCALE: Final = np.float32(1 - 2**-15)
"""From this magnitude on a sample counts as clipped: the largest of 16 bits."""

Samples = npt.NDArray[np.float32]


def check_channels(channels: str) -> None:
    """Checks an option `channels`.

    Raises:
        ValueError: neither "auto" nor "mean" nor a number from 1 on.
    """
    if channels not in (AUTO, MEAN) and not (channels.isdecimal() and int(channels) >= 1):
        raise ValueError(f"channels must be auto, mean or the number of a channel, counted from 1, got {channels!r}")


@dataclass(frozen=True)
class Mix:
    """How the channels of a recording become one.

    Attributes:
        channel: the channel that is used, counted from 0; None: the average of all.
        scale: factor of the samples.
        is_opposite_phase: whether the channel was chosen because two cancel each other.
    """

    channel: int | None = None
    scale: float = 1.0
    is_opposite_phase: bool = False

    @classmethod
    def of(cls, channels: str, num_channels: int, name: str) -> Mix:
        """The mix by the option `channels` for a file with that number of channels.

        Raises:
            RejectedPair: "missing channel".
        """
        if channels == AUTO:
            return cls(0 if num_channels >= MIN_CHANNELS_TO_SELECT else None)
        if channels == MEAN:
            return cls()
        if int(channels) > num_channels:
            raise RejectedPair("missing channel", f"{name}: channel {channels} of {num_channels}")
        return cls(int(channels) - 1)

    def __call__(self, block: Samples) -> Samples:
        """float32 (channels, samples) → (samples,), contiguous."""
        if self.channel is not None:
            mono = np.ascontiguousarray(block[self.channel])
        else:
            mono = block[0].copy()
            for channel in block[1:]:  # much faster than `mean(axis=0)`
                mono += channel
            mono /= np.float32(len(block))
        return mono if self.scale == 1.0 else mono * np.float32(self.scale)

    def describe(self, num_channels: int) -> str:
        """A phrase for a sample's metadata."""
        if num_channels == 1:
            return "mono"
        if self.channel is None:
            return f"mean of {num_channels}"
        reason = ", opposite phase" if self.is_opposite_phase else ""
        return f"{self.channel + 1} of {num_channels}{reason}"


class Levels:
    """Level and phase of a recording, collected block by block.

    Attributes:
        peak: largest magnitude of a sample, of all channels.
        num_samples: number of samples of all channels.
        num_clipped: number of samples at full scale or beyond.
    """

    def __init__(self, num_channels: int) -> None:
        self.peak = 0.0
        self.num_samples = 0
        self.num_clipped = 0
        self._sums = np.zeros(num_channels)
        self._squares = np.zeros(num_channels)
        self._product = 0.0
        self._count = 0

    def add(self, block: Samples, scale: float = 1.0) -> None:
        """Adds a block, float32 of shape (channels, samples); `scale` is that of the mix, for `num_clipped`."""
        for channel, samples in enumerate(block):
            highest = max(float(samples.max()), -float(samples.min()))
            self.peak = max(self.peak, highest)
            if highest * scale >= FULL_SCALE:
                self.num_clipped += int(np.count_nonzero(np.abs(samples) * np.float32(scale) >= FULL_SCALE))
            if len(block) == 2:
                self._sums[channel] += float(samples.sum())
                self._squares[channel] += float(np.dot(samples, samples))
        if len(block) == 2:
            self._product += float(np.dot(*block))
        self.num_samples += block.size
        self._count += block.shape[1]

    @property
    def correlation(self) -> float:
        """Of two channels, [-1, 1]; 0 for other numbers of channels, and if a channel is constant."""
        if self._count == 0 or len(self._sums) != 2:
            return 0.0
        means = self._sums / self._count
        variances = self._squares / self._count - means**2
        if min(variances) <= 0:
            return 0.0
        return float((self._product / self._count - means[0] * means[1]) / math.sqrt(variances[0] * variances[1]))

    def better(self, mix: Mix, channels: str, name: str) -> Mix:
        """The mix that the recording asks for, once all of it was heard: the given one, or another.

        Two channels of opposite phase: the louder one. Samples beyond `LOUDEST_FLOAT`: divided by the smallest of
        `INTEGER_SCALES` that none exceeds.

        Raises:
            RejectedPair: "undecodable sound": samples beyond all scales.
        """
        scale = mix.scale
        if self.peak > LOUDEST_FLOAT:
            fitting = [full for full in INTEGER_SCALES if self.peak <= full]
            if not fitting:
                raise RejectedPair(
                    "undecodable sound", f"{name}: samples reach {self.peak:.3g}, on no scale of 16, 24 or 32 bits"
                )
            scale = 1.0 / fitting[0]
        if channels == AUTO and mix.channel is None and self.correlation < OPPOSITE_PHASE:
            return Mix(int(np.argmax(self._squares)), scale, is_opposite_phase=True)
        return Mix(mix.channel, scale, mix.is_opposite_phase)
