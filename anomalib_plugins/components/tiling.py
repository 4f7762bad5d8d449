# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photos cut into tiles and maps of tiles merged as anomalib's ``Tiler`` does, but in a way that can be exported."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from anomalib.data.utils.tiler import ImageUpscaleMode, Tiler, compute_new_image_size, upscale_image
from torch import Tensor

from anomalib_plugins.errors import UserError

REMOVED = 1e-6  # weight of a border that is left out: it counts only where there is nothing else


def settings_of(tiler: Tiler | None) -> dict[str, Any] | None:
    """Arguments of a ``Tiler`` as plain values; ``None`` if there is none."""
    if tiler is None:
        return None
    return {
        "tile_size": [tiler.tile_size_h, tiler.tile_size_w],
        "stride": [tiler.stride_h, tiler.stride_w],
        "remove_border_count": tiler.remove_border_count,
        "mode": ImageUpscaleMode(tiler.mode).value,
    }


def cut(images: Tensor, tiler: Tiler | None) -> Tensor:
    """Cut images ``(N, C, H, W)`` into tiles, row by row: ``(N * T, C, h, w)``; without a tiler they stay whole.

    Raises:
        ValueError: If an image is smaller than a tile.
    """
    if tiler is None:
        return images
    height, width = extent(images.shape[-2:], tiler)
    larger = upscale_image(images, (height, width), tiler.mode)
    rows = range(0, height - tiler.tile_size_h + 1, tiler.stride_h)
    columns = range(0, width - tiler.tile_size_w + 1, tiler.stride_w)
    tiles = [larger[..., y : y + tiler.tile_size_h, x : x + tiler.tile_size_w] for y in rows for x in columns]
    return torch.stack(tiles, dim=1).flatten(0, 1)


def merge(tiles: Tensor, tiler: Tiler | None, size: Sequence[int]) -> Tensor:
    """Merge maps of tiles ``(N * T, C, h, w)``, by their mean where tiles overlap.

    Args:
        tiles: Maps of the tiles of :func:`cut`, of their size or smaller.
        tiler: Tiler that cut them.
        size: Height and width of the whole images.

    Returns:
        Maps ``(N, C, H, W)``, smaller than ``size`` in the ratio of the maps to their tiles.
    """
    if tiler is None:
        return tiles
    border, enlarged = tiler.remove_border_count, tiler.mode == ImageUpscaleMode.INTERPOLATION
    height, width = extent(size, tiler)
    down = shares(size[0], height, tiler.tile_size_h, tiler.stride_h, tiles.shape[-2], border, enlarged)
    across = shares(size[1], width, tiler.tile_size_w, tiler.stride_w, tiles.shape[-1], border, enlarged)
    count = down.shape[1] // tiles.shape[-2], across.shape[1] // tiles.shape[-1]
    whole = tiles.unflatten(0, (-1, *count)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    for matrix, side in ((down, 2), (across, 3)):
        if matrix.shape[0] != matrix.shape[1] or not np.array_equal(matrix, np.eye(len(matrix))):
            weights = torch.tensor(matrix, dtype=tiles.dtype, device=tiles.device)
            whole = weights @ whole if side == 2 else whole @ weights.T
    return whole


def extent(size: Sequence[int], tiler: Tiler) -> tuple[int, int]:
    """Height and width that tiles cover, which may exceed the image; a ``ValueError`` if it is smaller than a tile."""
    height, width = size
    if height < tiler.tile_size_h or width < tiler.tile_size_w:
        msg = (
            f"tiles of {tiler.tile_size_h} x {tiler.tile_size_w} px do not fit into images of {height} x {width} px: "
            "take smaller tiles, or a larger image_size"
        )
        raise UserError(msg)
    tile, stride = (tiler.tile_size_h, tiler.tile_size_w), (tiler.stride_h, tiler.stride_w)
    return compute_new_image_size((height, width), tile, stride)


def shares(
    length: int, covered: int, tile: int, stride: int, cells: int, border: int = 0, enlarged: bool = False
) -> np.ndarray:
    """Share of each cell of each tile in each cell of the whole along one side ``(cells of the whole, tiles * cells)``.

    Rows sum to 1. Overlapping cells are averaged; if a stride is not a whole number of cells, neighbours are mixed.

    Args:
        length: Pixels of the image.
        covered: Pixels that tiles cover.
        tile: Pixels of a tile.
        stride: Pixels from one tile to the next.
        cells: Cells of a tile's map.
        border: Pixels at the inner borders of tiles that are left out.
        enlarged: Whether the image was stretched to the covered pixels instead of padded with zeros.
    """
    cell, end = tile / cells, covered if enlarged else length
    whole = -(-length * cells // tile)
    starts = np.arange(0, covered - tile + 1, stride)
    inside = (np.arange(cells) + 0.5) * cell
    centres = (starts[:, None] + inside).ravel()
    weights = 1 - np.abs((np.arange(whole)[:, None] + 0.5) * end / whole - centres) / cell
    weights[weights < 1e-9] = 0  # of the triangle that reaches from one cell to the next
    kept = [
        ((inside > border) | (start == 0)) & ((inside < tile - border) | (start + tile == covered)) for start in starts
    ]
    weights *= np.where(np.concatenate(kept), 1, REMOVED)
    return weights / weights.sum(axis=1, keepdims=True)
