# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Shuffling of image tiles."""

import torch
from torch import Tensor

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.draws import uniform


def shuffle_tiles(
    images: Tensor,
    rows: int,
    columns: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Permute the ``rows x columns`` tiles of every image, each image in its own random order.

    If a side is not divisible, the remaining pixels at the bottom or right are not moved, so that the result always has
    the same pixels as the input.

    Args:
        images: Batch ``(N, C, H, W)``.
        rows: Number of tiles along the height, at most ``H``.
        columns: Number of tiles along the width, at most ``W``.
        generator: Source of the permutations.

    Returns:
        Batch of the same shape.

    Raises:
        ValueError: If a side has more tiles than pixels, or less than one tile.
    """
    count, channels, height, width = images.shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        msg = f"cannot cut {height} x {width} pixels into {rows} x {columns} tiles"
        raise UserError(msg)
    tile_height, tile_width = height // rows, width // columns
    inner = images[..., : rows * tile_height, : columns * tile_width]
    tiles = inner.reshape(count, channels, rows, tile_height, columns, tile_width)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (N, tiles, C, tile_height, tile_width)
    order = uniform((count, rows * columns), generator=generator).argsort(dim=1).to(images.device)
    tiles = tiles[torch.arange(count, device=images.device)[:, None], order]
    tiles = tiles.unflatten(1, (rows, columns)).permute(0, 3, 1, 4, 2, 5)
    shuffled = images.clone()
    shuffled[..., : rows * tile_height, : columns * tile_width] = tiles.reshape(inner.shape)
    return shuffled
