"""Tile2Vec: a triplet loss of a tile, a neighbouring tile and a distant one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from pretrain.data.image_transforms import RandomImageView
from pretrain.data.seeds import derived_seed
from pretrain.data.views import Row, Views, WithPlace
from pretrain.losses.naive_triplet import random_others
from pretrain.losses.no_negatives import chord
from pretrain.losses.tile2vec import random_far_tiles, tile2vec_loss
from pretrain.methods.image_only import ImageOnly
from pretrain.methods.settings import Tile2vecConfig, Tile2vecSettings
from pretrain.model import TwoTower
from pretrain.settings.pretraining import Config, DataSettings
from pretrain.training.task import Evaluation
from pretrain.weights.towers import build_towers
from shards.decoding.jpeg_parts import Box
from shards.errors import UserError
from shards.manifest import Manifest
from shards.streaming.reading import ShardSet, StoredSample


class NearView(RandomImageView):
    """A view of a crop next to the one that `RandomImageView` takes with the same seed, of the same size.

    It is shifted by up to half a side along both axes, so that the two overlap by at least a quarter.
    """

    @override
    def crop(self, height: int, width: int, seed: int) -> Box:
        top, left, tall, wide = super().crop(height, width, seed)
        generator = random.Random(derived_seed(seed, "near"))
        top = generator.randint(max(0, top - tall // 2), min(height - tall, top + tall // 2))
        left = generator.randint(max(0, left - wide // 2), min(width - wide, left + wide // 2))
        return Box(top, left, tall, wide)

    @override
    def of_crop(self, pixels: NDArray[np.uint8], seed: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        return super().of_crop(pixels, derived_seed(seed, "near"), out)


class AnchorAndNear(Views):
    """Two overlapping tiles of an image: "anchor" and "near", (3, s, s) uint8."""

    def __init__(self, settings: DataSettings) -> None:
        self._size = settings.image_size
        self._views = {"anchor": RandomImageView(settings), "near": NearView(settings)}

    @property
    @override
    def entries(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return dict.fromkeys(self._views, ((3, self._size, self._size), torch.uint8))

    @override
    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        for name, view in self._views.items():
            view.of_sample(sample, seed, row[name])


class WithKnownPlace(WithPlace):
    """As `WithPlace`, for methods that need coordinates."""

    @override
    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        super().write(sample, seed, row)
        if np.isnan(row["place"]).any():
            raise UserError(
                f"sample {sample.key} in {sample.tar_path} has no coordinates, and tile2vec.far_km > 0 needs those of "
                "every pair; set --tile2vec.far-km 0, or build the shards from recordings with coordinates"
            )


class Tile2vec(ImageOnly):
    """`tile2vec_loss` on two overlapping crops of an image and another image of the global batch (Jean et al., AAAI
    2019).

    The distant tile is the anchor of another pair, drawn in each step; with `far_km` > 0 it is one recorded beyond that
    distance. Anchors without such a pair in the batch are left out of the loss of the step; their number since the run
    began is `anchors_without_far` of each validation.

    Args:
        towers: the two towers.
        views: "anchor" and "near", and with `far_km` "place".
        settings: of the method.
    """

    def __init__(self, towers: TwoTower, views: Views, settings: Tile2vecSettings) -> None:
        super().__init__(towers, views)
        self.settings = settings
        self.loss_inputs = ("place",) if settings.far_km else ()
        self.least_chord = chord(settings.far_km)
        self.draws: Tensor
        self.without_far: Tensor
        # Buffers are saved with the weights, so that a resumed run continues the sequence of draws.
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.register_buffer("without_far", torch.zeros((), dtype=torch.int64))

    @classmethod
    def from_config(cls, config: Tile2vecConfig, manifest: Manifest) -> Tile2vec:
        """Builds the method from its settings."""
        views: Views = AnchorAndNear(config.data)
        views = WithKnownPlace(views) if config.tile2vec.far_km else views
        return cls(build_towers(config, manifest, on_sphere=False), views, config.tile2vec)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "anchor" and "near", (n, 3, s, s) uint8."""
        return {name: self.towers.encode_image(batch[name]) for name in ("anchor", "near")}

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The loss of the global batch, with distant tiles drawn here."""
        anchors, nears = embeddings["anchor"], embeddings["near"]
        kept: Tensor | slice = slice(None)
        if inputs:
            fars, kept = random_far_tiles(self.draws, inputs["place"], self.least_chord)
            self.without_far = self.without_far + (~kept).sum()
        else:
            fars = random_others(len(anchors), self.draws)
        self.draws = self.draws + 1
        margin, l2 = self.settings.margin, self.settings.l2
        return tile2vec_loss(anchors[kept], nears[kept], anchors[fars[kept]], margin, l2)

    @override
    def validate(self, shard_set: ShardSet, config: Config) -> Evaluation:
        """Scores like every method on images, and reports how many anchors were left out."""
        evaluation = super().validate(shard_set, config)
        if not self.settings.far_km:
            return evaluation
        left_out = int(self.without_far)
        scores = {**evaluation.scores, "anchors_without_far": left_out}
        sentence = f"{evaluation.sentence}; {left_out} anchors so far had no distant tile in their batch"
        return dataclasses.replace(evaluation, scores=scores, sentence=sentence)
