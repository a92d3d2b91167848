"""Activation maps: which parts of an image a result comes from, computed from feature maps and drawn over the image."""

from __future__ import annotations

from weakref import WeakSet

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.projection import linear_projection
from pretrain.model import TwoTower
from shards.errors import UserError

STRONGEST_OVERLAY = 0.72
"""Opacity of the map's colour at its maximum; where the map is 0 or below, the image shows through unchanged."""

TOLERANCE = 0.01
"""Relative difference between a feature map's mean and the features: far above rounding, far below an extra layer."""

_AVERAGING: WeakSet[Encoder] = WeakSet()
"""Encoders whose features were found to be the mean of their feature map. This does not depend on the weights, so it is
checked once per encoder, with a second forward pass."""


@torch.inference_mode()
def averaged_map(encoder: Encoder, inputs: Tensor) -> Tensor:
    """Returns the feature map whose mean over positions is an encoder's features: (n, c, h, w), float32.

    Args:
        encoder: the encoder, in evaluation mode.
        inputs: (n, channels, height, width), normalised.

    Raises:
        UserError: the encoder has no feature map, or its features are not simply the mean of it.
    """
    maps = encoder.feature_map(inputs).float()
    if encoder not in _AVERAGING:
        means, features = maps.mean((2, 3)), encoder(inputs).float()
        if means.shape != features.shape or not torch.allclose(
            means, features, rtol=TOLERANCE, atol=TOLERANCE * float(features.abs().max())
        ):
            raise UserError(
                "activation maps need an encoder whose features are the mean of its feature map; "
                f"{encoder.name or type(encoder).__name__} adds more, such as a class token or a layer after the mean; "
                "choose another encoder, such as a ResNet"
            )
        _AVERAGING.add(encoder)
    return maps


@torch.inference_mode()
def nearness_maps(towers: TwoTower, images: Tensor, sounds: Tensor, origin: Tensor) -> NDArray[np.float32]:
    """Maps which parts of each image bring it closer to a sound in the embedding space.

    An image at e is nearer to a sound s than one at o by |o - s|^2 - |e - s|^2 = 2 (e - o) . v, where v is
    s - (e + o) / 2. The encoder's last feature map F (channels x positions) is followed by the mean over positions and
    the projection P, p, so e is the mean over positions of P F + p (divided by its length on the sphere), and half of
    that difference is the mean of (P F + p - o) . v, which is the map.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, section 2, with a distance
    instead of a class score.

    Args:
        towers: the towers, in evaluation mode.
        images: (n, 3, side, side) uint8, on the towers' device; a single image is used for all sounds.
        sounds: (n, d) embeddings.
        origin: (d,) embedding that images are compared with, such as the mean of all images' embeddings.

    Returns:
        (n, height, width) at the feature map's resolution, in units of squared distance.

    Raises:
        UserError: the features of the image encoder are not the mean of a feature map, or the projection is not linear.
    """
    tower = towers.image_tower
    projection = linear_projection(tower.projection, "activation maps").float()
    features = averaged_map(tower.trunk, towers.prepare_images(images))
    places = torch.einsum("dc,nchw->ndhw", projection.weight, features) + projection.bias[:, None, None]
    if towers.config.on_sphere:
        places = places / places.mean((2, 3), keepdim=True).norm(dim=1, keepdim=True)
    embeddings = places.mean((2, 3))
    origin = origin.to(embeddings)
    directions = sounds.to(embeddings) - (embeddings + origin) / 2
    places = (places - origin[:, None, None]).expand(len(directions), -1, -1, -1)
    return torch.einsum("nd,ndhw->nhw", directions, places).cpu().numpy()


def overlay(image: NDArray[np.uint8], activation: NDArray[np.float32], strongest: float) -> NDArray[np.uint8]:
    """Draws a map over an image: the more a part contributes to the result, the brighter it is.

    Args:
        image: (height, width, 3).
        activation: (h, w), of any size; it is upsampled smoothly.
        strongest: the value drawn at full brightness; values at or below 0 are not drawn.

    Returns:
        (height, width, 3) uint8.
    """
    height, width = image.shape[:2]
    enlarged = cv2.resize(activation, (width, height), interpolation=cv2.INTER_CUBIC)
    share = np.clip(enlarged / max(strongest, 1e-12), 0, 1)
    colour = colormaps["inferno"](0.25 + 0.75 * share)[..., :3]
    opacity = (STRONGEST_OVERLAY * share**0.7)[..., None]
    grey = image.mean(2, keepdims=True) / 255
    # The image's own colours would mix with the map's, so the image is mostly desaturated.
    ground = 0.35 * image / 255 + 0.65 * grey
    return np.rint(255 * ((1 - opacity) * ground + opacity * colour)).astype(np.uint8)
