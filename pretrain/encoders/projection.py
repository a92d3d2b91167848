"""The projection from an encoder's features to the embedding: one linear layer, or two with a GELU between them."""

from __future__ import annotations

from torch import nn

from shards.errors import UserError

Projection = nn.Linear | nn.Sequential


def build_projection(num_features: int, embedding_dim: int, hidden: int = 0) -> Projection:
    """Builds a projection, (n, num_features) → (n, embedding_dim).

    Args:
        num_features: of the encoder.
        embedding_dim: of the embedding.
        hidden: units of the hidden layer; 0: one linear layer.
    """
    if not hidden:
        return nn.Linear(num_features, embedding_dim)
    return nn.Sequential(nn.Linear(num_features, hidden), nn.GELU(), nn.Linear(hidden, embedding_dim))


def embedding_dim_of(projection: Projection) -> int:
    """Size of what a projection returns."""
    last = projection if isinstance(projection, nn.Linear) else projection[-1]
    assert isinstance(last, nn.Linear)
    return last.out_features


def linear_projection(projection: nn.Module, what: str) -> nn.Linear:
    """Returns a projection that is linear, and so the same before and after the mean over the places of a feature map.

    Args:
        projection: a `Projection`.
        what: needs it, for the message.

    Raises:
        UserError: it has a hidden layer.
    """
    if isinstance(projection, nn.Linear):
        return projection
    raise UserError(f"{what} need a linear projection, but this model was trained with model.head_hidden > 0")
