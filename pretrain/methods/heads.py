"""The projection heads of SimCLR and MoCo: what follows the image tower's linear layer, and is not released."""

from __future__ import annotations

from torch import nn

from pretrain.data.image_transforms import ImageView, RandomImageView
from pretrain.data.strong_views import StrongImageView
from pretrain.data.views import TwoImageViews, Views
from pretrain.methods.settings import HeadSettings, MocoConfig, SimclrConfig


def build_rest_of_head(settings: HeadSettings, embedding_dim: int) -> nn.Module:
    """Builds what follows the tower's linear layer, (n, embedding_dim) → (n, `head_dim_of`).

    `mlp`: a ReLU and a linear layer, so that the head has two layers with the tower's as the first (SimCLR v2, Chen et
    al., NeurIPS 2020, section 2). `projector`: two layers with a ReLU between them, behind the tower's linear layer, as
    in the code of SoundingEarth's authors (128 → 512 → 128). `linear`: nothing (MoCo, He et al., CVPR 2020).

    Args:
        settings: kind and sizes.
        embedding_dim: of the tower.
    """
    dim = head_dim_of(settings, embedding_dim)
    if settings.head == "linear":
        return nn.Identity()
    if settings.head == "projector":
        hidden = settings.head_hidden
        return nn.Sequential(nn.Linear(embedding_dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
    return nn.Sequential(nn.ReLU(), nn.Linear(embedding_dim, dim))


def head_dim_of(settings: HeadSettings, embedding_dim: int) -> int:
    """Dimensions of what the head returns."""
    return settings.head_dim or embedding_dim


def build_views(config: SimclrConfig | MocoConfig, settings: HeadSettings) -> Views:
    """Builds the two views of an image that the settings name."""
    size = config.data.image_size
    strong: ImageView = StrongImageView(config.strong_views, size)
    return TwoImageViews(strong if settings.views == "strong" else RandomImageView(config.data), size)
