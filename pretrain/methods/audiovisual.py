"""The audiovisual method: pairs of an image and a sound recorded at the same place."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from typing_extensions import override

from pretrain.data.views import ADDITIONS, ImageAndSound, Views
from pretrain.losses.pair_loss import PairLoss
from pretrain.methods.interface import Method
from pretrain.methods.settings import AudiovisualConfig
from pretrain.model import TwoTower
from pretrain.settings.pretraining import Config
from pretrain.training.task import Evaluation
from pretrain.training.validation import validate_retrieval
from pretrain.weights.towers import build_towers
from shards.manifest import Manifest
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet


class Audiovisual(Method):
    """Both towers under a loss on paired embeddings (SoundingEarth, section IV).

    Args:
        towers: the two towers.
        pair_loss: the loss of the global batch.
        views: the entries of a batch.
    """

    def __init__(self, towers: TwoTower, pair_loss: PairLoss, views: Views) -> None:
        super().__init__()
        self.towers = towers
        self.pair_loss = pair_loss
        self.views = views
        self.loss_inputs = pair_loss.inputs

    @classmethod
    def from_config(cls, config: AudiovisualConfig, manifest: Manifest) -> Audiovisual:
        """Builds the method from its settings, with towers for the spectrograms of the shard set."""
        pair_loss = config.loss.build(config.model.embedding_dim)
        towers = build_towers(config, manifest, on_sphere=pair_loss.on_sphere)
        views: Views = ImageAndSound(config.data)
        for name in pair_loss.inputs:
            views = ADDITIONS[name](views)
        return cls(towers, pair_loss, views)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "image" (n, 3, s, s) uint8 and "sound" (n, 1, 128, t) uint8."""
        return {
            "image": self.towers.encode_image(batch["image"]),
            "sound": self.towers.encode_sound(batch["sound"]),
        }

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The pair loss of the global batch."""
        loss: Tensor = self.pair_loss(embeddings["image"], embeddings["sound"], **inputs)
        return loss

    @override
    def validate(self, shard_set: ShardSet, config: Config) -> Evaluation:
        """Ranks the validation split; the model with the lowest mean rank is kept."""
        crops = config.validation.crops
        scores = validate_retrieval(self.towers, shard_set, precision=config.precision, crops=crops)
        there, back, chance = scores["image_to_sound"], scores["sound_to_image"], scores["chance"]
        sentence = (
            f"median rank {there['median_rank']:.1f} image→sound, {back['median_rank']:.1f} sound→image "
            f"(chance {chance['median_rank']:.1f} of {scores['gallery_size']})"
        )
        return Evaluation(VALIDATION_SPLIT, scores, scores["mean_rank"], sentence)
