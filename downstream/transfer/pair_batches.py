"""Batches of labelled pairs: images read by loader processes, sounds and the teacher's answers from memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from downstream.running.images import ImageView
from downstream.running.inference import ImageReader
from downstream.running.items import SceneItem
from downstream.running.views import BRIGHTNESS, HUE, SATURATION, SeededView
from downstream.transfer.heard_sounds import HeardSounds

# By default albumentations checks for its newest version online when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A


class FlippedView(SeededView):
    """The whole image as a square, mirrored or not, with jittered brightness and colour (Hu et al., section 5.1).

    The paper names the three and gives no amounts: half are mirrored, the jitter is that of `scene_augmentation`.

    Args:
        image_size: side of the view in pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__(
            A.Compose(
                [
                    A.Resize(image_size, image_size, area_for_downscale="image"),
                    A.HorizontalFlip(p=0.5),
                    A.ColorJitter(BRIGHTNESS, 0.0, SATURATION, HUE, p=1.0),
                ]
            )
        )


@dataclass(frozen=True)
class Heard:
    """Arrays for the sound of each pair.

    Attributes:
        sounds: the spectrograms.
        answers: (n, events), the frozen teacher's pre-activations, in the order of the spectrograms; None without one.
    """

    sounds: HeardSounds
    answers: NDArray[np.float32] | None

    def beside(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Batches of images with "sound", (n, frames, bands) uint8, and "answers", (n, events) float32."""
        for batch in batches:
            if "error" not in batch:
                batch["sound"] = self.sounds.tensor(batch["keys"])
                if self.answers is not None:
                    batch["answers"] = torch.from_numpy(self.answers[self.sounds.rows(batch["keys"])])
            yield batch


class PairReader(ImageReader):
    """This process's share of labelled pairs, in batches; iterable repeatedly.

    Args:
        items: images of all processes.
        view: how an image is seen.
        heard: what belongs to their sounds.
        batch_size: pairs at once.
        workers: loader processes of this process.
    """

    def __init__(
        self, items: Sequence[SceneItem], view: ImageView, heard: Heard, *, batch_size: int, workers: int
    ) -> None:
        super().__init__(items, view, batch_size=batch_size, workers=workers)
        self._heard = heard

    @override
    def one_pass(self) -> Iterator[dict[str, Any]]:
        """The batches of one pass; it has to be gone through to its end."""
        return self._heard.beside(super().one_pass())
