"""Mixes an image query and a sound query into one: the weighted mean of their normalised embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np

from retrieval.explore.atlas import Modality
from retrieval.explore.questions import OTHER, Question
from shards.errors import UserError

LEAST_LENGTH = 1e-3
"""Shortest mean of two unit vectors that still has a direction; opposite ones have none."""


def mixed(image: Question, sound: Question, image_share: float, gallery: Modality) -> Question:
    """A query that lies between an image and a sound.

    Both embeddings are scaled to length 1 and averaged with the weights; the mean is scaled to the weighted mean of
    their lengths, because distances are Euclidean on embeddings as the model returns them.

    Args:
        image: an image query.
        sound: a sound query.
        image_share: weight of the image, in [0, 1].
        gallery: what to search.

    Raises:
        UserError: the weight is outside [0, 1], an embedding is 0, or the mean has no direction.
    """
    if not 0 <= image_share <= 1:
        raise UserError(f"the weight of the image must be from 0 to 1, got {image_share:g}")
    vectors = [np.asarray(part.embedding, np.float64) for part in (image, sound)]
    lengths = [float(np.linalg.norm(vector)) for vector in vectors]
    if min(lengths) == 0:
        raise UserError("the embedding of the image or of the sound is 0 and has no direction; mix others")
    weights = (image_share, 1 - image_share)
    mean = weights[0] * vectors[0] / lengths[0] + weights[1] * vectors[1] / lengths[1]
    direction = float(np.linalg.norm(mean))
    if direction < LEAST_LENGTH:
        raise UserError("the image and the sound point in opposite directions; change the weight of the image")
    length = sum(weight * length for weight, length in zip(weights, lengths, strict=True))
    exhibit = dataclasses.replace(
        image.exhibit,
        title=f"{image.exhibit.title} + {sound.exhibit.title}",
        label="",
        spectrogram=sound.exhibit.spectrogram,
        clip=sound.exhibit.clip,
        credit=" · ".join(dict.fromkeys(filter(None, (image.exhibit.credit, sound.exhibit.credit)))),
        licence=" · ".join(dict.fromkeys(filter(None, (image.exhibit.licence, sound.exhibit.licence)))),
        licence_url="",
    )
    return Question(
        # Sounds are searched as by an image, and images as by a sound: the regions that match are found likewise.
        modality=OTHER[gallery],
        embedding=(mean * length / direction).astype(np.float32),
        exhibit=exhibit,
        image=image.image if gallery == "sound" else None,
        number=None,
        mix=f"image {image_share:.0%}, sound {1 - image_share:.0%}".replace("%", " %"),
    )
