# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Perlin noise for whole batches by small matrix products, for any image size and lattice."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.draws import uniform


@lru_cache(maxsize=128)
def _basis(size: int, cells: int, nodes: int, device: torch.device) -> Tensor:
    """Slope and interpolation weight of every lattice node at every pixel along one axis.

    Along one axis the noise is a sum over nodes of ``weight`` and ``weight * offset``, where ``offset`` is the distance
    from the node to the pixel in cells. The weight ``1 - fade(|offset|)`` is zero from one cell on, so extra nodes only
    add zeros, and lattices of different sizes fit into one batched product.

    Returns:
        Slope ``weight * offset``, then ``weight``: ``(2, size, nodes)``.
    """
    position = torch.arange(size, dtype=torch.float64) * cells / size
    offset = position[:, None] - torch.arange(nodes)  # (size, nodes)
    distance = offset.abs().clamp(max=1)
    weight = 1 - distance**3 * (6 * distance**2 - 15 * distance + 10)
    return torch.stack((weight * offset, weight)).float().to(device)


def perlin_from_angles(angles: Tensor, cells: Tensor, size: Sequence[int]) -> Tensor:
    """Compute Perlin noise from given gradient directions.

    With the slope and weight matrices ``D`` and ``A`` of each axis and unit gradients ``(cos, sin)``, the noise is
    ``sqrt(2) (D_y cos A_x^T + A_y sin D_x^T)``.

    Args:
        angles: Gradient direction at each lattice node in radians, ``(N, K, K)`` with ``K > cells.max()``. An image
            with fewer cells uses the first ``cells + 1`` rows and columns.
        cells: Number of lattice cells of each image along height and width ``(N, 2)``, at least 1.
        size: Height and width of the noise.

    Returns:
        Noise ``(N, 1, H, W)`` in about ``[-1, 1]``, zero at the lattice nodes, on the device of ``angles``.

    Raises:
        ValueError: If ``angles`` has too few nodes for ``cells``.
    """
    nodes = angles.shape[-1]
    if int(cells.max()) >= nodes:
        msg = f"{int(cells.max())} cells need {int(cells.max()) + 1} angles along each axis, got {nodes}"
        raise UserError(msg)
    rows, columns = (
        torch.stack([_basis(length, number, nodes, angles.device) for number in axis])  # (N, 2, length, K)
        for length, axis in zip(size, cells.T.tolist(), strict=True)
    )
    gradients = math.sqrt(2) * torch.stack((angles.cos(), angles.sin()), dim=1)  # (N, 2, K, K)
    left = rows @ gradients  # (N, 2, H, K)
    noise = torch.bmm(left[:, 0], columns[:, 1].mT).baddbmm_(left[:, 1], columns[:, 0].mT)
    return noise.unsqueeze(1)


def perlin_noise(
    size: Sequence[int],
    cells: Tensor,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Compute Perlin noise with random gradients and one lattice per image.

    Args:
        size: Height and width of the noise.
        cells: Number of lattice cells of each image along height and width ``(N, 2)``.
        generator: Source of the gradient directions.
        device: Device of the noise.

    Returns:
        Noise ``(N, 1, H, W)`` in about ``[-1, 1]``.

    Example:
        >>> perlin_noise((100, 60), torch.tensor([[4, 2], [8, 8]])).shape
        torch.Size([2, 1, 100, 60])
    """
    nodes = int(cells.max()) + 1
    angles = uniform((len(cells), nodes, nodes), high=2 * math.pi, generator=generator)
    return perlin_from_angles(angles.to(device), cells, size)
