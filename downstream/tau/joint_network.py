"""The network of joint audiovisual scene classification: acoustic encoder, visual encoder, scene classifier."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from downstream.tau.acoustic_features import CLIP_SECONDS, FRAMES_OF_CLIP, NUM_CHANNELS
from downstream.tau.visual_encoder import VisualEncoder

CHANNELS = (2, 4, 8, 16, 32)
KERNEL, POOL_KERNEL, POOL_STRIDE, POOL_PADDING = 3, 3, 2, 1
"""Chen et al. (2022), Table 1, but for the kernel of the pooling, which it does not give: ours is 3."""

HIDDEN, EMBEDDING = 2048, 1024
DROPOUT = 0.5


class ResidualBlock(nn.Module):
    """Conv-BN-ReLU-AvgPool, plus a convolution of the input that has the same shape.

    Of length L, the first path leaves ⌊(L − 3)/2⌋ + 1 places: a convolution without padding L − 2 of them, and the
    pooling (padding 1 on both sides) every second. The second path does it by one convolution of stride 2.

    Args:
        in_channels, out_channels: of the block.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, KERNEL),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(),
            nn.AvgPool1d(POOL_KERNEL, POOL_STRIDE, POOL_PADDING),
        )
        self.skip = nn.Conv1d(in_channels, out_channels, KERNEL, POOL_STRIDE)

    @override
    def forward(self, signal: Tensor) -> Tensor:
        """(n, in_channels, length) → (n, out_channels, ⌊(length − 3)/2⌋ + 1)."""
        summed: Tensor = self.path(signal) + self.skip(signal)
        return summed


class AcousticEncoder(nn.Module):
    """The 1-D residual CNN of Chen et al. (2022), Table 1 ("AE"): convolutions run along the bands of one frame.

    Its input is normalised per channel and band by the training part's mean and deviation, which the paper does not
    tell; the flattened input stands beside the output of the convolutions.

    Args:
        statistics: (2, 2, bands): means and deviations.
    """

    def __init__(self, statistics: NDArray[np.float32]) -> None:
        super().__init__()
        bands = statistics.shape[-1]
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.as_tensor(statistics[0]).clone())
        self.register_buffer("std", torch.as_tensor(statistics[1]).clone())
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in itertools.pairwise(CHANNELS)))
        length = bands
        for _ in self.blocks:
            length = (length - KERNEL) // POOL_STRIDE + 1
        self.head = nn.Sequential(
            nn.Linear(NUM_CHANNELS * bands + CHANNELS[-1] * length, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING),
            nn.ReLU(),
        )

    @override
    def forward(self, frames: Tensor) -> Tensor:
        """(n, 2, bands) log-filtered magnitudes → (n, 1024)."""
        normalised = (frames - self.mean) / self.std
        embedding: Tensor = self.head(torch.cat([normalised.flatten(1), self.blocks(normalised).flatten(1)], 1))
        return embedding


def scene_classifier(num_features: int, num_classes: int) -> nn.Sequential:
    """The classifier of Chen et al. (2022), Table 1 ("SC"), without the SoftMax, which is in the loss."""
    return nn.Sequential(
        nn.Linear(num_features, EMBEDDING),
        nn.BatchNorm1d(EMBEDDING),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(EMBEDDING, num_classes),
    )


class JointNetwork(nn.Module):
    """Embeddings of an acoustic and a visual frame, one after the other, and the classifier on them (Eq. 1).

    A frozen encoder is not moved and stays in evaluation mode, so its norms and dropout don't change either.

    Args:
        num_classes: of the data set.
        acoustic: None hears nothing.
        visual: None sees nothing, or gets embeddings; it is frozen always.
        embedding_width: of the image embeddings that batches hold in place of images; 0: images.
        freeze_acoustic: whether the acoustic encoder stays as it is.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        acoustic: AcousticEncoder | None = None,
        visual: VisualEncoder | None = None,
        embedding_width: int = 0,
        freeze_acoustic: bool = False,
    ) -> None:
        super().__init__()
        self.acoustic = acoustic
        self.visual = visual
        width = (EMBEDDING if acoustic is not None else 0) + embedding_width
        width += visual.num_features if visual is not None else 0
        self.classifier = scene_classifier(width, num_classes)
        self.freeze_acoustic = freeze_acoustic
        for encoder in self._frozen():
            encoder.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        candidates = [self.visual, self.acoustic if self.freeze_acoustic else None]
        return [encoder for encoder in candidates if encoder is not None]

    @override
    def train(self, mode: bool = True) -> JointNetwork:
        """Training mode for the trained parts."""
        super().train(mode)
        for encoder in self._frozen():
            encoder.eval()
        return self

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Class scores of frames.

        Args:
            batch: of what is used: "acoustic" (n, 2, bands) float32, "image" (n, 3, side, side) uint8 or "embedding"
                (n, embedding_width) float32.

        Returns:
            "logits", (n, classes).
        """
        return {"logits": self.classifier(torch.cat(self._embeddings(batch), 1))}

    def _embeddings(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        parts = [self.acoustic(batch["acoustic"])] if self.acoustic is not None else []
        if self.visual is not None:
            parts.append(self.visual(batch["image"]))
        elif "embedding" in batch:
            parts.append(batch["embedding"])
        return parts

    @property
    def embedding_dim(self) -> int:
        """Dimensions of the joint embedding."""
        first = self.classifier[0]
        assert isinstance(first, nn.Linear)
        return first.in_features

    def segment_probabilities(self, clips: Mapping[str, Tensor]) -> Tensor:
        """Class probabilities of each second of whole clips: the mean over the second's frames (section 3.2).

        Args:
            clips: of what is used: "acoustic" (n, 56 + 10 · 3, 2, bands) as `AcousticFeatures.of_clip` gives it,
                "image" (n, 10, 3, side, side) or "embedding" (n, 10, embedding_width).

        Returns:
            float32 (n, 10, classes).
        """
        joined = self._joined_of_seconds(clips)
        probabilities = self.classifier(joined.flatten(0, 1)).float().softmax(1)
        return probabilities.view(-1, CLIP_SECONDS, joined.shape[1], probabilities.shape[1]).mean(2)

    def segment_embeddings(self, clips: Mapping[str, Tensor]) -> Tensor:
        """The joint embedding of each second of whole clips: the mean over the second's frames.

        The acoustic part, if the network hears, is its first 1,024 numbers.

        Args:
            clips: as in `segment_probabilities`.

        Returns:
            float32 (n, 10, embedding_dim).
        """
        joined = self._joined_of_seconds(clips)
        return joined.float().mean(1).view(-1, CLIP_SECONDS, joined.shape[2])

    def _joined_of_seconds(self, clips: Mapping[str, Tensor]) -> Tensor:
        """(10 n, frames, embedding_dim): the joint embeddings of the frames of each second."""
        seconds = {
            name: rows[:, FRAMES_OF_CLIP:] if name == "acoustic" else rows
            for name, rows in clips.items()
            if name in ("acoustic", "image", "embedding")
        }
        num_clips = len(next(iter(seconds.values())))
        flat = {name: rows.flatten(0, 1) for name, rows in seconds.items()}
        # An image is embedded once and joined with each acoustic frame of its second.
        parts = [part.view(num_clips * CLIP_SECONDS, -1, part.shape[-1]) for part in self._embeddings(flat)]
        frames = max(part.shape[1] for part in parts)
        return torch.cat([part.expand(-1, frames, -1) for part in parts], 2)
