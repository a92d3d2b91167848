"""Answers a query: the nearest pairs of the other modality, and the image regions that match the sound."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.activation_maps import nearness_maps, overlay
from pretrain.data.image_transforms import evaluation_image
from pretrain.weights.same_embeddings import fixed_probe
from retrieval.exhibits import PICTURE_QUALITY, Exhibit, data_uri
from retrieval.explore.questions import PICTURE_PIXELS, Question, Questioner
from shards.decoding.imagery import encode_jpeg
from shards.errors import UserError

MEAN_OF_ROWS = 10_000
"""Maximum number of evenly spaced pairs for the mean image embedding."""


@dataclass(frozen=True)
class Answer:
    """One of the nearest pairs.

    Attributes:
        number: number of the pair in the atlas.
        distance: Euclidean distance between the query and the pair's embedding in the other modality.
        is_own: whether the query was taken from this pair.
        exhibit: what the page shows of the pair.
        activation: data URI of the compared image, the query's or the pair's, as the image tower sees it, overlaid
            with the regions that match the sound; empty if the image encoder has no such map.
    """

    number: int
    distance: float
    is_own: bool
    exhibit: Exhibit
    activation: str


class Answerer:
    """Answers queries from one atlas.

    Args:
        questioner: creates the queries; holds the model and the atlas.

    Attributes:
        why_no_regions: why answers show no regions that match the sound; empty if they do.
    """

    def __init__(self, questioner: Questioner) -> None:
        self.questioner = questioner
        self.model, self.atlas = questioner.model, questioner.atlas
        step = -(-len(self.atlas) // MEAN_OF_ROWS)
        self._mean_image = np.asarray(self.atlas.image_embeddings[::step], np.float64).mean(axis=0).astype(np.float32)
        self.why_no_regions = ""
        try:
            probe = fixed_probe(self.model.config).images.to(self.model.image_mean.device)
            anywhere = torch.zeros(1, self.model.config.embedding_dim)
            nearness_maps(self.model, probe[:1], anywhere, anywhere[0])
        except UserError as error:
            self.why_no_regions = str(error)

    def answer(self, question: Question, count: int) -> list[Answer]:
        """The nearest pairs of the other modality, nearest first."""
        return self.show(question, *self.atlas.nearest(question.gallery, question.embedding, count))

    def show(self, question: Question, numbers: NDArray[np.int64], distances: NDArray[np.float64]) -> list[Answer]:
        """What the page shows of the nearest pairs of the other modality.

        Args:
            question: the query.
            numbers: (k,) the pairs, nearest first.
            distances: (k,) of their embeddings to the query.
        """
        if len(numbers) == 0:
            return []
        with self.questioner.lock:
            samples = [self.atlas.sample(int(number)) for number in numbers]
            exhibits = [self.questioner.exhibit(sample) for sample in samples]
            images = [sample.image() for sample in samples] if question.image is None else [question.image]
            pictures = self._activations(question, numbers, images)
        return [
            Answer(int(number), float(distance), number == question.number, exhibit, picture)
            for number, distance, exhibit, picture in zip(numbers, distances, exhibits, pictures, strict=True)
        ]

    def _activations(
        self, question: Question, numbers: NDArray[np.int64], images: list[NDArray[np.uint8]]
    ) -> list[str]:
        """For each answer, its image or the query's, overlaid with the regions that match the sound."""
        if self.why_no_regions:
            return [""] * len(numbers)
        sounds = question.embedding[None] if question.modality == "sound" else self.atlas.sound_embeddings[numbers]
        views = np.stack([evaluation_image(image, self.model.config.image_size) for image in images])
        maps = nearness_maps(
            self.model,
            torch.from_numpy(views).to(self.model.image_mean.device),
            sounds=torch.from_numpy(np.array(sounds)).expand(len(numbers), -1),
            origin=torch.from_numpy(self._mean_image),
        )
        # One scale for all answers, so that weak matches look weak.
        strongest = float(np.maximum(maps.max(axis=(1, 2)), 0).max())
        views = np.broadcast_to(views, (len(numbers), *views.shape[1:]))
        return [_drawn(view, its_map, strongest) for view, its_map in zip(views, maps, strict=True)]


def _drawn(view: NDArray[np.uint8], activation: NDArray[np.float32], strongest: float) -> str:
    seen = cv2.resize(view.transpose(1, 2, 0), (PICTURE_PIXELS, PICTURE_PIXELS), interpolation=cv2.INTER_CUBIC)
    return data_uri(
        "image/jpeg", encode_jpeg(overlay(np.asarray(seen, np.uint8), activation, strongest), PICTURE_QUALITY)
    )
