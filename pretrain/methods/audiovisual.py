"""The audiovisual method: pairs of an image and a sound recorded at the same place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from torch import Tensor
from typing_extensions import Unpack, override

from pretrain.data.batches import BatchLayout, Part
from pretrain.data.mixing import mixed_pairs
from pretrain.data.views import ADDITIONS, ImageAndSound, Views
from pretrain.features.feature_batches import FeatureBatches
from pretrain.features.frozen_features import FrozenFeatures, embed_features
from pretrain.losses.pair_loss import PairLoss
from pretrain.methods.interface import Method
from pretrain.methods.settings import AudiovisualConfig
from pretrain.model import TwoTower
from pretrain.ranking.intervals import Units
from pretrain.settings.pretraining import Config
from pretrain.training.task import Evaluation
from pretrain.training.validation import score_retrieval, validate_retrieval, validation_units
from pretrain.weights.towers import build_towers
from shards.errors import UserError
from shards.manifest import Manifest
from shards.schema import TRAIN_SPLIT, VALIDATION_SPLIT
from shards.streaming.reading import ShardSet


class Audiovisual(Method):
    """Both towers under a loss on paired embeddings (SoundingEarth, section IV).

    Args:
        towers: the two towers.
        pair_loss: the loss of the global batch.
        views: the entries of a batch.
        mixing: alpha of FuseMix; 0: none.
    """

    def __init__(self, towers: TwoTower, pair_loss: PairLoss, views: Views, *, mixing: float = 0.0) -> None:
        super().__init__()
        self.towers = towers
        self.pair_loss = pair_loss
        self.views = views
        self.loss_inputs = pair_loss.inputs
        self._mixing = mixing
        self._features: FrozenFeatures | None = None
        self._units: Units | None = None

    @classmethod
    def from_config(cls, config: AudiovisualConfig, manifest: Manifest) -> Audiovisual:
        """Builds the method from its settings, with towers for the spectrograms of the shard set.

        Raises:
            UserError: the settings don't fit the shard set, or mixing does not fit the loss.
        """
        pair_loss = config.loss.build(config.model.embedding_dim)
        if config.mixing and pair_loss.inputs:
            raise UserError(
                f"mixing must be 0 with this loss, which needs the {' and '.join(pair_loss.inputs)} of each pair, "
                f"because a mixture of two pairs has none, got {config.mixing:g}"
            )
        towers = build_towers(config, manifest, on_sphere=pair_loss.on_sphere)
        views: Views = ImageAndSound(config.data, manifest.spectrogram)
        for name in pair_loss.inputs:
            views = ADDITIONS[name](views)
        return cls(towers, pair_loss, views, mixing=config.mixing)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "image" (n, 3, s, s) and "sound" (n, 1, mel bands, t) uint8, or their stored features."""
        if "image_features" in batch:
            image, sound = batch["image_features"], batch["sound_features"]
        else:
            image, sound = self.towers.image_features(batch["image"]), self.towers.sound_features(batch["sound"])
        if self._mixing and self.training:
            image, sound = mixed_pairs(image, sound, self._mixing)
        return {"image": self.towers.project_image(image), "sound": self.towers.project_sound(sound)}

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The pair loss of the global batch."""
        loss: Tensor = self.pair_loss(embeddings["image"], embeddings["sound"], **inputs)
        return loss

    @override
    def training_batches(
        self, shard_set: ShardSet, config: Config, layout: BatchLayout, **part: Unpack[Part]
    ) -> Iterator[dict[str, Any]]:
        """Pairs, or stored features of pairs as long as both encoders are frozen."""
        first, last = part["first_step"], part["last_step"]
        steps = layout.steps_per_epoch(shard_set.num_samples(TRAIN_SPLIT)) * config.model.unfreeze_epochs
        until = min(steps or last, last)
        if not self.towers.is_frozen or first >= until:
            return super().training_batches(shard_set, config, layout, **part)
        store = self._frozen_features(shard_set, config).training()
        frozen = Part(rank=part["rank"], first_step=first, last_step=until)
        batches = iter(FeatureBatches(store, list(self.views.entries), shard_set, config, layout, **frozen))
        return chain(batches, self._live_batches(shard_set, config, layout, until, part))

    def _live_batches(
        self, shard_set: ShardSet, config: Config, layout: BatchLayout, first_step: int, part: Part
    ) -> Iterator[dict[str, Any]]:
        """Pairs from a step on; nothing is read before they are asked for."""
        if first_step < part["last_step"]:
            rest = Part(rank=part["rank"], first_step=first_step, last_step=part["last_step"])
            yield from super().training_batches(shard_set, config, layout, **rest)

    def _frozen_features(self, shard_set: ShardSet, config: Config) -> FrozenFeatures:
        if self._features is None:
            self._features = FrozenFeatures(self.towers, shard_set, config, self.views)
        return self._features

    @override
    def validate(self, shard_set: ShardSet, config: Config) -> Evaluation:
        """Ranks the validation split; the model with the lowest mean rank is kept, or the last if so set."""
        crops = config.validation.crops
        if self.towers.is_frozen:
            stored = self._frozen_features(shard_set, config).evaluation(VALIDATION_SPLIT, crops)
            pairs = embed_features(self.towers, stored, config.precision)
            # Such a validation takes no longer than reading the shards would, so that is done once.
            self._units = self._units or validation_units(shard_set)
            scores = score_retrieval(pairs, self._units)
        else:
            scores = validate_retrieval(self.towers, shard_set, precision=config.precision, crops=crops)
        there, back, chance = scores["image_to_sound"], scores["sound_to_image"], scores["chance"]
        sentence = (
            f"median rank {there['median_rank']:.1f} image→sound, {back['median_rank']:.1f} sound→image "
            f"(chance {chance['median_rank']:.1f} of {scores['gallery_size']})"
        )
        error = scores["mean_rank"] if config.validation.keep == "best" else None
        return Evaluation(VALIDATION_SPLIT, scores, error, sentence)
