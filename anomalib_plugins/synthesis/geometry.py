# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Batched rotation and blur with one set of parameters per image."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def rotate(images: Tensor, degrees: Tensor, mirror: Tensor | None = None, padding: str = "zeros") -> Tensor:
    """Rotate every image about its centre by its own angle, bilinearly.

    Args:
        images: Batch ``(N, C, H, W)``.
        degrees: Angle of each image ``(N,)``.
        mirror: ``-1`` mirrors, ``1`` keeps; left-right and top-bottom of each image ``(N, 2)``.
        padding: What lies outside the image: ``"zeros"``, ``"border"`` or ``"reflection"``.

    Returns:
        Batch of the same shape.
    """
    height, width = images.shape[-2:]
    cosine, sine = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    # Normalised coordinates have different units along the two sides of an image that is not square.
    matrix = torch.stack((cosine, -sine * height / width, sine * width / height, cosine), dim=1).view(-1, 2, 2)
    if mirror is not None:
        matrix = matrix * mirror[:, :, None]
    matrix = matrix.to(images)
    x, y = (torch.arange(1 - size, size, 2, device=images.device).to(images) / size for size in (width, height))
    where = images.new_empty(len(images), height, width, 2)
    for axis in range(2):  # half the time of affine_grid
        along_x, along_y = matrix[:, axis, 0, None] * x, matrix[:, axis, 1, None] * y
        torch.add(along_y[:, :, None], along_x[:, None, :], out=where[..., axis])
    return F.grid_sample(images, where, padding_mode=padding, align_corners=False)


@lru_cache(maxsize=16)
def _blur_matrix(size: int, sigma: float, device: torch.device) -> Tensor:
    """Gaussian blur of one axis as a matrix ``(size, size)`` that mirrors at the borders; rows sum to 1."""
    radius = min(math.ceil(3 * sigma), size - 1)
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    source = torch.arange(size)[:, None] + steps
    source = (size - 1) - ((size - 1) - source.abs()).abs()
    matrix = torch.zeros(size, size).scatter_add_(1, source, (weights / weights.sum()).expand(size, -1))
    return matrix.to(device)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur a batch ``(N, C, H, W)`` with a Gaussian of ``sigma`` pixels, mirrored at the borders."""
    rows, columns = (_blur_matrix(size, sigma, images.device) for size in images.shape[-2:])
    return rows @ images @ columns.T


def pixel_scale(size: Sequence[int]) -> float:
    """Length of an image of ``size`` (height, width) relative to 256 x 256, for constants given at that size."""
    return math.sqrt(size[0] * size[1]) / 256
