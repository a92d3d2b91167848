"""Base of the methods that learn from images alone."""

from __future__ import annotations

from dataclasses import replace

from typing_extensions import override

from pretrain.data.image_transforms import RandomImageView
from pretrain.data.views import Views
from pretrain.methods.interface import Method
from pretrain.model import TwoTower
from pretrain.settings.pretraining import Config
from pretrain.training.task import Evaluation
from pretrain.training.validation import validate_views
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet


class ImageOnly(Method):
    """A method that trains the image tower; the sound tower keeps its initial weights.

    Args:
        towers: the two towers.
        views: the entries of a batch.
    """

    def __init__(self, towers: TwoTower, views: Views) -> None:
        super().__init__()
        self.towers = towers
        self.views = views
        towers.sound_tower.requires_grad_(False)
        towers.config = replace(towers.config, sound_trained=False)

    @override
    def validate(self, shard_set: ShardSet, config: Config) -> Evaluation:
        """Retrieves each validation image by another view of it. The last model is kept, since this score does not
        measure how useful the weights are."""
        view = RandomImageView(config.data)
        scores = validate_views(self.towers, shard_set, view, precision=config.precision)
        sentence = (
            f"median rank {scores['view_to_view']['median_rank']:.1f} of an image's other view "
            f"(chance {scores['chance']['median_rank']:.1f} of {scores['gallery_size']})"
        )
        return Evaluation(VALIDATION_SPLIT, scores, None, sentence)
