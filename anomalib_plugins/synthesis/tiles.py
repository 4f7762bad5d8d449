# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Cut images into tiles and put them back in another order."""

import torch
from torch import Tensor

from anomalib_plugins.synthesis.draws import uniform


def shuffle_tiles(
    images: Tensor,
    rows: int,
    columns: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Permute the ``rows x columns`` tiles of every image, each image in its own random order.

    Where the side is not divisible, the last pixels at the bottom and right stay where they are, so that the pixels
    of the result are always those of the input.

    Args:
        images: Batch ``(N, C, H, W)``.
        rows: Tiles along the height, at most ``H``.
        columns: Tiles along the width, at most ``W``.
        generator: Source of the permutations.

    Returns:
        Batch of the same shape.

    Raises:
        ValueError: If there are more tiles than pixels along a side, or fewer than one.
    """
    count, channels, height, width = images.shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        msg = f"cannot cut {height} x {width} pixels into {rows} x {columns} tiles"
        raise ValueError(msg)
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
