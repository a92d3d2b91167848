"""What augmentation on the device would give: the rotated resize against ours, and the speed of decoding there.

Earshot augments in the loader, on the CPU. These figures are there to decide whether that should move.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gpu.clock import seconds_a_call
from gpu.items import Place, Skipped
from torch import Tensor
from torch.nn import functional as F

SIZE, SIDE = 192, 256
MOST_GREY_LEVELS = 1.0
"""Mean difference of the rotated resize: OpenCV interpolates between 32 positions a pixel."""


def rotation_equals_ours(place: Place) -> dict[str, Any]:
    """The rotation and resize of a crop in one interpolation on the device, against `RotatedResize`.

    Raises:
        AssertionError: the mean difference is above `MOST_GREY_LEVELS`.
    """
    import cv2

    from pretrain.data.augmentations import RotatedResize

    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    crop = np.ascontiguousarray(cv2.GaussianBlur(noise, (0, 0), 2.0))
    batch = torch.from_numpy(crop).permute(2, 0, 1)[None].to(place.device)
    worst = 0.0
    for degrees in (0.0, 17.0, 45.0, -120.0):
        ours = RotatedResize(SIZE, 180.0).apply(crop, angle=degrees)
        theirs = rotated_resize(batch.float(), torch.tensor([degrees], device=place.device), SIZE)
        turned = theirs[0].permute(1, 2, 0).cpu().numpy()
        worst = max(worst, float(np.abs(ours.astype(np.float32) - turned).mean()))
    assert worst <= MOST_GREY_LEVELS, f"rotations differ by {worst:.2f} grey levels on average"
    return {"worst mean difference, grey levels": worst}


def rotated_resize(images: Tensor, degrees: Tensor, size: int) -> Tensor:
    """Turns each image about its centre and resizes it, filled by reflection: (n, c, s, s) → (n, c, size, size)."""
    angles = degrees * (math.pi / 180)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(turn, [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def time_on_the_device(place: Place) -> dict[str, Any]:
    """JPEGs of 512 pixels decoded a second by nvJPEG, and rotated views a second.

    Raises:
        Skipped: this torchvision has no nvJPEG.
    """
    from torchvision.io import decode_jpeg, encode_jpeg

    smooth = F.interpolate(torch.rand(1, 3, 64, 64), 512, mode="bicubic").clamp(0, 1)[0]
    jpeg = encode_jpeg((255 * smooth).byte(), quality=90)
    count = 256
    try:
        decoded = decode_jpeg([jpeg] * count, device=place.device)
    except RuntimeError as error:
        raise Skipped(f"this torchvision can't decode on the GPU: {error}") from error
    seconds = seconds_a_call(lambda: decode_jpeg([jpeg] * count, device=place.device), 5, place.device)
    batch = torch.stack(decoded)[:, :, :SIDE, :SIDE].float()
    degrees = 360 * torch.rand(count, device=place.device)
    turning = seconds_a_call(lambda: rotated_resize(batch, degrees, SIZE).round().byte(), 10, place.device)
    return {"jpegs_per_second": count / seconds, "views_per_second": count / turning, "bytes_a_jpeg": len(jpeg)}
