"""SimCLR: two strongly augmented views of each image, contrasted behind a projection head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from pretrain.data.strong_views import StrongImageView
from pretrain.data.views import TwoImageViews, Views
from pretrain.losses.nt_xent import nt_xent_loss
from pretrain.methods.image_only import ImageOnly
from pretrain.methods.settings import SimclrConfig
from pretrain.model import TwoTower
from pretrain.weights.towers import build_towers
from shards.manifest import Manifest


class Simclr(ImageOnly):
    """`nt_xent_loss` between two strong views (Chen et al., ICML 2020).

    The projection head has two linear layers with a ReLU between them. The first is the image tower's linear layer, so
    `model/` holds the head up to there, as SimCLR v2 does (Chen et al., NeurIPS 2020, section 2); the second is only in
    the run's checkpoints.

    Args:
        towers: the two towers.
        views: "image" and "other_image".
        temperature: > 0.
    """

    def __init__(self, towers: TwoTower, views: Views, temperature: float) -> None:
        super().__init__(towers, views)
        dimensions = towers.config.embedding_dim
        self.rest_of_head = nn.Sequential(nn.ReLU(), nn.Linear(dimensions, dimensions))
        self.temperature = temperature

    @classmethod
    def from_config(cls, config: SimclrConfig, manifest: Manifest) -> Simclr:
        """Builds the method from its settings."""
        size = config.data.image_size
        views = TwoImageViews(StrongImageView(config.strong_views, size), size)
        return cls(build_towers(config, manifest, on_sphere=False), views, config.simclr.temperature)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "image" and "other_image", (n, 3, s, s) uint8, behind the head, with length 1."""
        return {name: self._project(batch[name]) for name in ("image", "other_image")}

    def _project(self, images: Tensor) -> Tensor:
        projected: Tensor = self.rest_of_head(self.towers.encode_image(images))
        return F.normalize(projected.float(), dim=1)

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """NT-Xent of the global batch."""
        return nt_xent_loss(embeddings["image"], embeddings["other_image"], self.temperature)
