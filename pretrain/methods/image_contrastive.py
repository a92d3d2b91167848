"""The image-contrastive method: two views of an image, without a projection head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from typing_extensions import override

from pretrain.data.image_transforms import RandomImageView
from pretrain.data.views import TwoImageViews, Views
from pretrain.losses.contrastive import contrastive_loss
from pretrain.methods.image_only import ImageOnly
from pretrain.methods.settings import ImageContrastiveConfig
from pretrain.model import TwoTower
from pretrain.weights.towers import build_towers
from shards.manifest import Manifest


class ImageContrastive(ImageOnly):
    """`contrastive_loss` in both directions between two views with the augmentation of the audiovisual methods.

    The image-only counterpart of the loss `contrastive`: same views, embedding and temperature, with a second view of
    the image in place of the sound.
    """

    def __init__(self, towers: TwoTower, views: Views, temperature: float) -> None:
        super().__init__(towers, views)
        self.temperature = temperature

    @classmethod
    def from_config(cls, config: ImageContrastiveConfig, manifest: Manifest) -> ImageContrastive:
        """Builds the method from its settings."""
        views = TwoImageViews(RandomImageView(config.data), config.data.image_size)
        return cls(build_towers(config, manifest, on_sphere=True), views, config.loss.temperature)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "image" and "other_image", (n, 3, s, s) uint8."""
        return {name: self.towers.encode_image(batch[name]) for name in ("image", "other_image")}

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The contrastive loss of the global batch."""
        return contrastive_loss(embeddings["image"], embeddings["other_image"], self.temperature, "both")
