"""A question → the nearest pairs of the other modality, and what in each image speaks for the sound."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.activation_maps import overlay, similarity_maps
from pretrain.image_transforms import evaluation_image
from retrieval.exhibits import PICTURE_QUALITY, Exhibit, data_uri
from retrieval.explore.questions import OTHER, PICTURE_PIXELS, Question, Questioner
from shards.imagery import encode_jpeg

MEAN_OF_ROWS = 10_000
"""The mean sound and the mean image are taken over at most so many evenly spaced pairs."""


@dataclass(frozen=True)
class Answer:
    """One of the nearest pairs.

    Attributes:
        number: of the pair in the atlas.
        distance: Euclidean, between the question's embedding and that of the pair's other modality.
        is_own: whether it is the pair that the question was taken from.
        exhibit: what the page shows of it.
        activation: data URI of the image that is being compared, the question's or the pair's, as the image tower sees
            it, with what in it speaks for the sound.
    """

    number: int
    distance: float
    is_own: bool
    exhibit: Exhibit
    activation: str


class Answerer:
    """Answers questions from one atlas.

    Args:
        questioner: what makes them, with the model and the atlas.
    """

    def __init__(self, questioner: Questioner) -> None:
        self.questioner = questioner
        self.model, self.atlas = questioner.model, questioner.atlas
        step = -(-len(self.atlas) // MEAN_OF_ROWS)
        self._mean_sound, self._mean_image = (
            np.asarray(rows[::step], np.float64).mean(axis=0).astype(np.float32)
            for rows in (self.atlas.sound_embeddings, self.atlas.image_embeddings)
        )

    def answer(self, question: Question, count: int) -> list[Answer]:
        """The nearest pairs of the other modality, nearest first."""
        numbers, distances = self.atlas.nearest(OTHER[question.modality], question.embedding, count)
        pictures = self._activations(question, numbers)
        return [
            Answer(
                int(number),
                float(distance),
                number == question.number,
                self.questioner.exhibit(self.atlas.sample(int(number))),
                picture,
            )
            for number, distance, picture in zip(numbers, distances, pictures, strict=True)
        ]

    def distances(self, question: Question) -> NDArray[np.float32]:
        """(n,) Euclidean distances from the question to every pair's other modality."""
        return self.atlas.distances(OTHER[question.modality], question.embedding)

    def _activations(self, question: Question, numbers: NDArray[np.int64]) -> list[str]:
        """Of each answer its image with what in it, unlike most images, speaks for its sound, unlike most sounds."""
        if len(numbers) == 0:
            return []
        if question.image is None:
            images = [self.atlas.sample(int(number)).image() for number in numbers]
            sounds = np.repeat(question.embedding[None], len(numbers), axis=0)
        else:
            images = [question.image] * len(numbers)
            sounds = np.asarray(self.atlas.sound_embeddings[numbers])
        views = np.stack([evaluation_image(image, self.model.config.image_size) for image in images])
        device = self.model.image_mean.device
        maps = similarity_maps(
            self.model,
            torch.from_numpy(views).to(device),
            origin=torch.from_numpy(self._mean_image),
            directions=torch.from_numpy(sounds - self._mean_sound),
        )
        # One scale for all answers, so that what speaks loudly in one is not drowned by what whispers in another.
        strongest = float(np.maximum(maps.max(axis=(1, 2)), 0).max())
        return [_drawn(view, its_map, strongest) for view, its_map in zip(views, maps, strict=True)]


def _drawn(view: NDArray[np.uint8], activation: NDArray[np.float32], strongest: float) -> str:
    seen = cv2.resize(view.transpose(1, 2, 0), (PICTURE_PIXELS, PICTURE_PIXELS), interpolation=cv2.INTER_CUBIC)
    return data_uri(
        "image/jpeg", encode_jpeg(overlay(np.asarray(seen, np.uint8), activation, strongest), PICTURE_QUALITY)
    )
