# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Rotation, shift, blur and tiles of a batch, with one set of parameters per image."""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import uniform

BORDERS = {"zeros": cv2.BORDER_CONSTANT, "border": cv2.BORDER_REPLICATE, "reflection": cv2.BORDER_REFLECT}


def rotate(images: Tensor, degrees: Tensor, mirror: Tensor | None = None, padding: str = "zeros") -> Tensor:
    """Rotate every image ``(N, C, H, W)`` around its centre by its own angle ``(N,)``, bilinearly.

    Args:
        images: Images.
        degrees: Angle of each image.
        mirror: Signs of each image ``(N, 2)``, left-right and top-bottom; ``-1`` mirrors, ``1`` does not.
        padding: Values outside the image: ``"zeros"``, ``"border"`` or ``"reflection"``.
    """
    matrix = rotations(degrees)
    if mirror is not None:
        matrix = matrix * mirror[:, :, None]
    return (_warp_planes if images.device.type == "cpu" else _warp_batch)(images, matrix, padding)


def rotations(degrees: Tensor) -> Tensor:
    """Rotation matrices ``(N, 2, 2)`` for angles in degrees ``(N,)``."""
    cosine, sine = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    return torch.stack((cosine, -sine, sine, cosine), dim=1).view(-1, 2, 2)


def _warp_batch(images: Tensor, matrix: Tensor, padding: str) -> Tensor:
    """Warp images on any device: ``matrix`` ``(N, 2, 2)`` maps each pixel's offset from the centre to its source."""
    size = torch.tensor(images.shape[:-3:-1], dtype=images.dtype)  # width, height
    # In the units of grid_sample both sides of every image have length 2.
    theta = F.pad(matrix.to(images.dtype) * size / size[:, None], (0, 1)).to(images.device)
    where = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode=padding, align_corners=False)


def _warp_planes(images: Tensor, matrix: Tensor, padding: str) -> Tensor:
    """Warp as ``_warp_batch`` does, on the CPU, where OpenCV is twice as fast because it stores no coordinates."""
    warped = np.empty(images.shape, np.float32)
    for source, target, linear in zip(images.float().numpy(), warped, matrix.tolist(), strict=True):
        for plane, output in zip(source, target, strict=True):
            warp_plane(plane, linear, output, padding)
    return torch.from_numpy(warped).to(images.dtype)


def warp_plane(
    plane: np.ndarray, linear: Sequence[Sequence[float]], output: np.ndarray, padding: str = "zeros"
) -> np.ndarray:
    """Warp a float plane ``(H, W)`` bilinearly into ``output`` by a 2 x 2 matrix, see ``_warp_batch``; return that."""
    height, width = plane.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    affine = np.array([(a, b, centre - (a * x + b * y)) for (a, b), centre in zip(linear, (x, y), strict=True)])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, affine, (width, height), output, flags, BORDERS[padding])


def roll(images: Tensor, shift: Tensor) -> Tensor:
    """Shift every image ``(N, C, H, W)`` by its own offset ``(N, 2)``, down and to the right, with wrap-around."""
    shift = shift.to(images.device)
    rows, columns = (
        (torch.arange(side, device=images.device) - shift[:, axis, None]) % side  # (N, side)
        for axis, side in enumerate(images.shape[-2:])
    )
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@lru_cache(maxsize=16)
def _blur_matrix(size: int, sigma: float, device: torch.device) -> Tensor:
    """Matrix ``(size, size)`` of a Gaussian blur along one axis, mirrored at the borders; rows sum to 1."""
    radius = min(math.ceil(3 * sigma), size - 1)
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    source = torch.arange(size)[:, None] + steps
    source = (size - 1) - ((size - 1) - source.abs()).abs()
    matrix = torch.zeros(size, size).scatter_add_(1, source, (weights / weights.sum()).expand(size, -1))
    return matrix.to(device)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur a batch ``(N, C, H, W)`` with a Gaussian of ``sigma`` pixels, mirrored at the borders."""
    rows, columns = (_blur_matrix(size, sigma, images.device).to(images.dtype) for size in images.shape[-2:])
    return rows @ images @ columns.T


def cut_tiles(images: Tensor, rows: int, columns: int) -> Tensor:
    """Cut images ``(N, C, H, W)`` into ``rows x columns`` tiles, row by row: ``(N, T, C, h, w)``."""
    tiles = images.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))  # (N, C, rows, h, columns, w)
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join_tiles(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """Join tiles ``(N, T, C, h, w)`` to images ``(N, C, H, W)``, the reverse of ``cut_tiles``."""
    return tiles.unflatten(1, (rows, columns)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def rearrange(tiles: Tensor, orders: Tensor) -> Tensor:
    """Put tile ``orders[n, t]`` of each image's tiles ``(N, T, C, h, w)`` into place t, with orders ``(N, T)``."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], orders]


def shuffle_tiles(images: Tensor, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
    """Permute the ``rows x columns`` tiles of every image ``(N, C, H, W)``, each image in its own random order.

    If a side is not divisible, the remaining pixels at the bottom or right are not moved. A ``ValueError`` is raised if
    a side has more tiles than pixels, or less than one tile.
    """
    height, width = images.shape[-2:]
    if not (1 <= rows <= height and 1 <= columns <= width):
        msg = f"cannot cut {height} x {width} pixels into {rows} x {columns} tiles"
        raise UserError(msg)
    inner = images[..., : height // rows * rows, : width // columns * columns]
    order = uniform((len(images), rows * columns), generator=generator).argsort(dim=1).to(images.device)
    tiles = rearrange(cut_tiles(inner, rows, columns), order)
    shuffled = images.clone()
    shuffled[..., : inner.shape[2], : inner.shape[3]] = join_tiles(tiles, rows, columns)
    return shuffled


def pixel_scale(size: Sequence[int]) -> float:
    """Scale of an image of ``size`` (height, width) relative to 256 x 256, for constants that refer to that size."""
    return math.sqrt(size[0] * size[1]) / 256
