"""Input and output of the scene protocols."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from downstream.running.class_activation import check_explainable
from downstream.running.images import check_images
from downstream.running.pictures import Margins
from downstream.running.splits import Split
from downstream.scenes.benchmark import SceneBenchmark, SceneData
from downstream.scenes.kind import HeadOn, SceneSettings
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from shards.errors import RejectedPair, UserError

IMAGES_FOR_SIZE = 50


@dataclass(frozen=True)
class SceneJob:
    """Input of every protocol.

    Attributes:
        benchmark: what is known of the data set.
        settings: with batch size, image size and what the head sits on resolved.
        accelerator: the processes that work together.
        preemption: whether the run is preempted.
        data: the classes and the readable items.
        encoder: of the settings' weights and seed.
        notes: what readers of the results have to know.
        resume: whether to go on with what stands in the folder.
    """

    benchmark: SceneBenchmark
    settings: SceneSettings
    accelerator: Accelerator
    preemption: PreemptionWatch
    data: SceneData
    encoder: LoadedEncoder
    notes: list[str]
    resume: bool

    @property
    def seeds(self) -> list[int]:
        """Seeds of the splits, for protocols with several."""
        return [self.settings.seed + i for i in range(self.settings.num_seeds)]

    @property
    def train_fraction(self) -> float:
        """Training share, for protocols on the usual splits."""
        return self.settings.train_fraction or self.benchmark.usual_fractions[0]

    def fresh_encoder(self, seed: int) -> LoadedEncoder:
        """Loads a new encoder with the settings' weights; random weights depend on the seed."""
        settings = self.settings
        return load_encoder(
            settings.weights,
            backbone=settings.backbone,
            imagenet_file=settings.imagenet_file,
            seed=seed,
            image_size=settings.image_size,
        )


@dataclass(frozen=True)
class SceneOutcome:
    """Output of a protocol.

    Attributes:
        split: of the first seed.
        probabilities: (test items of that split, classes).
        epochs: for `Results.epochs`.
        seconds: of training and scoring, over all starts.
        seeds: of the splits, or of the run where there is one.
        details: what belongs to the protocol alone, for `Results.details`.
        has_classifier: whether `model/` holds a trained classifier, of the first seed.
        is_tracked: whether the experiment tracker has got the scores already.
        margins: by what the mistakes of the test part are ordered; None: by probability.
    """

    split: Split
    probabilities: NDArray[np.float32]
    epochs: list[dict[str, Any]]
    seconds: float
    seeds: list[int]
    details: dict[str, Any] = field(default_factory=dict)
    has_classifier: bool = False
    is_tracked: bool = False
    margins: Margins | None = None


def check_scenes(benchmark: SceneBenchmark, settings: SceneSettings) -> SceneData:
    """Loads the data.

    Raises:
        UserError: the data are missing or incomplete.
    """
    return benchmark.load(settings.root, allow_partial=settings.allow_partial)


def open_job(
    benchmark: SceneBenchmark,
    settings: SceneSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> SceneJob:
    """Opens data and weights, reports what of them is used, and resolves the settings that depend on them.

    Raises:
        UserError: data, weights and settings don't fit together.
    """
    data = check_scenes(benchmark, settings)
    # Before all images are read, so that a mistyped path is reported at once.
    encoder = load_encoder(
        settings.weights, backbone=settings.backbone, imagenet_file=settings.imagenet_file, seed=settings.seed
    )
    distributed.note_once(f"weights: {encoder.report}")
    rasters = encoder.rasters.with_bands(settings.bands)
    found = [dataclasses.replace(item, rasters=rasters) for item in data.items]
    items, faults = check_images(found, max_corrupt=settings.max_corrupt, threads=max(1, settings.workers))
    notes = [*data.missing, *(f"not used: {fault}" for fault in faults)]
    for sentence in notes:
        distributed.print_once(sentence)
    data = dataclasses.replace(data, items=items)
    settings = dataclasses.replace(
        settings,
        batch_size=settings.batch_size or benchmark.batch_size,
        image_size=settings.image_size or benchmark.image_size or _common_size(data),
        head_on=_head_on(settings, encoder),
    )
    encoder.module.set_input_size((settings.image_size, settings.image_size))
    if settings.explain:
        check_explainable(encoder, settings.image_size, on_embedding=settings.head_on == "embedding")
    return SceneJob(benchmark, settings, accelerator, preemption, data, encoder, notes, resume)


def _head_on(settings: SceneSettings, encoder: LoadedEncoder) -> HeadOn:
    if settings.head_on == "embedding" and encoder.projection is None:
        raise UserError(
            f"head_on embedding needs weights with an embedding layer, but {settings.weights} has none; choose trunk"
        )
    if settings.head_on != "auto":
        return settings.head_on
    return "embedding" if settings.protocol == "paper" and encoder.projection is not None else "trunk"


def _common_size(data: SceneData) -> int:
    """The most common shorter side among up to 50 images."""
    sides = []
    for item in data.items[:: max(1, len(data.items) // IMAGES_FOR_SIZE)]:
        try:
            sides.append(min(item.load().shape[:2]))
        except RejectedPair as error:
            raise UserError(f"{item.key}: {error}; it could be read when the run started") from error
    values, counts = np.unique(sides, return_counts=True)
    return int(values[counts.argmax()])
