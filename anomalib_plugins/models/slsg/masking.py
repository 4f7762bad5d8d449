# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks that hide parts of images from a network that is to paint them."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from anomalib_plugins.components.checks import check_choice, check_least, check_share
from anomalib_plugins.errors import UserError

CellUnit = Literal["pixels", "cells"]

# Image side at which large_size is meant literally, in pixels.
_REFERENCE_SIDE = 256


class InpaintingMask:
    """Draws masks of many small cells and a few large rectangles, another one for each image.

    To fill the cells a network must learn textures, to fill the rectangles the layout of the image.

    Args:
        mask_ratio: Share of the cells that is hidden, in ``[0, 1]``; each image hides exactly the nearest count.
        cell_size: Size of the cells, in units of ``cell_unit``.
        cell_unit: ``"pixels"``: cells have ``cell_size`` pixels a side, at any image size. ``"cells"``: every image has
            ``cell_size`` rows and columns of cells.
        num_large_masks: Smallest and largest number of rectangles per image; ``(0, 0)`` for none.
        large_size: Smallest and largest side of a rectangle, in pixels of an image whose shorter side is 256; smaller
            and larger images have theirs in proportion.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> InpaintingMask(num_large_masks=(0, 0))(torch.rand(1, 3, 256, 256)).mean()
        tensor(0.7998)
    """

    def __init__(
        self,
        mask_ratio: float = 0.8,
        cell_size: int = 8,
        cell_unit: CellUnit = "pixels",
        num_large_masks: Sequence[int] = (1, 3),
        large_size: Sequence[int] = (40, 150),
    ) -> None:
        check_share("mask_ratio", mask_ratio)
        check_least("cell_size", cell_size)
        check_choice("cell_unit", cell_unit, CellUnit)
        self.mask_ratio = mask_ratio
        self.cell_size = cell_size
        self.cell_unit = cell_unit
        self.num_large_masks = _ordered("num_large_masks", num_large_masks, lowest=0, highest=64)
        self.large_size = _ordered("large_size", large_size, lowest=1, highest=_REFERENCE_SIDE)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw masks ``(N, 1, H, W)``, 1 where hidden, else 0, for images ``(N, C, H, W)``."""
        count, _, height, width = images.shape
        hidden = self.draw_cells(count, height, width, generator)
        if self.num_large_masks[1] > 0:
            hidden |= self.draw_large(count, height, width, generator)
        return hidden.unsqueeze(1).to(images)

    def draw_cells(self, count: int, height: int, width: int, generator: torch.Generator | None = None) -> Tensor:
        """Hide the configured share of cells: ``count`` boolean masks ``(N, H, W)``, true where hidden."""
        device = generator.device if generator else None
        row, column = self._cell_of_pixel(height, device), self._cell_of_pixel(width, device)
        rows, columns = int(row[-1]) + 1, int(column[-1]) + 1
        order = _uniform((count, rows * columns), generator).argsort(dim=1)
        chosen = order < round(self.mask_ratio * rows * columns)  # the ranks are a permutation: the count is exact
        return chosen.view(count, rows, columns)[:, row[:, None], column]

    def _cell_of_pixel(self, length: int, device: torch.device | None) -> Tensor:
        """Number of the cell each pixel of a row or column lies in."""
        position = torch.arange(length, device=device)
        if self.cell_unit == "pixels":
            return position // self.cell_size
        return position * min(self.cell_size, length) // length

    def draw_large(self, count: int, height: int, width: int, generator: torch.Generator | None = None) -> Tensor:
        """Hide rectangles inside the image with uniform sides, positions and number, as ``draw_cells`` does."""
        fewest, most = self.num_large_masks
        number = _integers(fewest, most, _uniform((count, 1), generator))
        scale = min(height, width) / _REFERENCE_SIDE
        shortest, longest = (max(1, round(side * scale)) for side in self.large_size)
        draws = _uniform((4, count, most), generator)

        def span(size: Tensor, position: Tensor, length: int) -> Tensor:
            side = _integers(shortest, longest, size)[..., None]
            start = _integers(0, length - side, position[..., None])
            pixel = torch.arange(length, device=size.device)
            return (pixel >= start) & (pixel < start + side)  # (N, R, L)

        rows, columns = span(draws[0], draws[1], height), span(draws[2], draws[3], width)
        used = torch.arange(most, device=number.device) < number  # (N, R)
        rectangles = rows[..., :, None] & columns[..., None, :] & used[..., None, None]  # (N, R, H, W)
        return rectangles.any(dim=1)


def _uniform(shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device if generator else None)


def _integers(low: int, high: int | Tensor, uniform: Tensor) -> Tensor:
    """Whole numbers from ``low`` to ``high``, both included, from uniform ones in ``[0, 1)``."""
    return low + (uniform * (high - low + 1)).long()


def _ordered(name: str, pair: Sequence[int], lowest: int, highest: int) -> tuple[int, int]:
    if len(pair) != 2 or not lowest <= pair[0] <= pair[1] <= highest:
        msg = f"{name} must be two numbers, smaller first, in [{lowest}, {highest}]; got {tuple(pair)}"
        raise UserError(msg)
    return pair[0], pair[1]
