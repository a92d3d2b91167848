"""SimCLR: two augmented views of each image, contrasted behind a projection head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain.data.views import Views
from pretrain.losses.contrastive import contrastive_loss
from pretrain.losses.nt_xent import nt_xent_loss
from pretrain.methods.heads import build_rest_of_head, build_views
from pretrain.methods.image_only import ImageOnly
from pretrain.methods.settings import SimclrConfig, SimclrSettings
from pretrain.model import TwoTower
from pretrain.weights.towers import build_towers
from shards.manifest import Manifest


class Simclr(ImageOnly):
    """`nt_xent_loss` between two views of an image, or the one-way loss of SoundingEarth's authors.

    The head begins with the image tower's linear layer, so `model/` holds it up to there; the rest is only in the run's
    checkpoints (`pretrain.methods.heads`). Source: Chen et al., ICML 2020.

    Args:
        towers: the two towers, whose embeddings are not on the sphere.
        views: "image" and "other_image".
        settings: temperature, loss and head.
    """

    def __init__(self, towers: TwoTower, views: Views, settings: SimclrSettings) -> None:
        super().__init__(towers, views)
        self.rest_of_head = build_rest_of_head(settings, towers.config.embedding_dim)
        self.settings = settings

    @classmethod
    def from_config(cls, config: SimclrConfig, manifest: Manifest) -> Simclr:
        """Builds the method from its settings."""
        views = build_views(config, config.simclr)
        return cls(build_towers(config, manifest, on_sphere=False), views, config.simclr)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "image" and "other_image", (n, 3, s, s) uint8, behind the head, with length 1."""
        return {name: self._project(batch[name]) for name in ("image", "other_image")}

    def _project(self, images: Tensor) -> Tensor:
        projected: Tensor = self.rest_of_head(self.towers.encode_image(images))
        return F.normalize(projected.float(), dim=1)

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The loss of the global batch."""
        views, others, temperature = embeddings["image"], embeddings["other_image"], self.settings.temperature
        if self.settings.loss == "one-way":
            # Softmax over the first views for each second one, as in the authors' code.
            return contrastive_loss(others, views, temperature)
        return nt_xent_loss(views, others, temperature)
