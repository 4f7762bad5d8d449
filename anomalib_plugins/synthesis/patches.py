# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Painting of pixels, and rectangles that are cut, rotated and pasted within an image."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from anomalib_plugins.synthesis.base import INVISIBLE, NORMAL, STRUCTURAL, SyntheticBatch, moved_together, uniform
from anomalib_plugins.synthesis.colour import adjust_lists, random_colours
from anomalib_plugins.synthesis.geometry import pixel_scale

PatchShape = Literal["patch", "scar"]

AREA = (0.02, 0.15)
ASPECT = (0.3, 3.3)
SCAR_WIDTH, SCAR_HEIGHT = 2.0, (10.0, 25.0)  # the width is at most half the height


class Move(NamedTuple):
    """Flat indices ``(P,)`` of pixels to copy within an image, and of the pixels to replace, without duplicates."""

    source: Tensor
    target: Tensor


def patch_shapes(
    count: int, size: Sequence[int], area: Sequence[float] = AREA, generator: torch.Generator | None = None
) -> Tensor:
    """Draw heights and widths ``(count, 2)`` of rectangles, integers from 1 to ``size``.

    Areas are uniform in ``area``, as a share of the image's area; aspect ratios are log-uniform from 0.3 to 3.3.
    """
    low, high = (math.log(ratio) for ratio in ASPECT)
    share, aspect = uniform((2, count), 0, 1, generator)
    pixels = (area[0] + share * (area[1] - area[0])) * size[0] * size[1]
    aspect = (low + aspect * (high - low)).exp()  # width over height
    shapes = torch.stack(((pixels / aspect).sqrt(), (pixels * aspect).sqrt()), dim=1).round().long()
    return shapes.clamp(min=1).minimum(torch.tensor(list(size)))


def scar_shapes(count: int, size: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """Draw heights (10 to 25 pixels) and widths (2 pixels to half the height) of scars, scaled from 256 x 256.

    The result is ``(count, 2)``, integers of at least 1. Every rotation of a scar fits into the image.
    """
    scale = min(pixel_scale(size), min(size) / 64)  # the latter for images more than 16 times as long as wide
    share = uniform((count, 2), 0, 1, generator)
    height = torch.lerp(*(torch.tensor(SCAR_HEIGHT) * scale), share[:, 0])
    width = torch.lerp(torch.tensor(SCAR_WIDTH * scale), height / 2, share[:, 1])
    height = height.round().long().clamp(min=1)
    return torch.stack((height, width.round().long().minimum(height // 2).clamp(min=1)), dim=1)


def margins(shapes: Tensor, degrees: Tensor) -> Tensor:
    """Compute how many pixels rectangles ``(N, 2)`` extend beyond their bounds when rotated by angles ``(N, A)``.

    The result ``(N, 2)`` holds the largest number above or below, and on the left or right.
    """
    height, width = shapes.double().unsqueeze(2).unbind(dim=1)  # (N, 1) each
    cosine, sine = degrees.double().deg2rad().cos().abs(), degrees.double().deg2rad().sin().abs()
    reach = torch.stack((height * cosine + width * sine, width * cosine + height * sine), dim=1).amax(dim=2)
    # A pixel counts if its centre is covered, half a pixel from its edge.
    return ((reach - shapes) / 2 - 0.5).ceil().clamp(min=0).long()


def move(
    source: Sequence[int], target: Sequence[int], shape: Sequence[int], degrees: float, size: Sequence[int]
) -> Move:
    """Compute the pixels to copy to move a rectangle, rotated around its centre without interpolation.

    Args:
        source: Upper left corner of the rectangle, (row, column).
        target: Upper left corner of the target rectangle before rotation.
        shape: Height and width of the rectangle.
        degrees: Angle of rotation, clockwise.
        size: Height and width of the image, which must contain the rotated rectangle.
    """
    (height, width), columns = shape, size[1]
    numbers = np.add.outer(np.arange(height) * columns, np.arange(width))
    first, second = source[0] * columns + source[1], target[0] * columns + target[1]
    if degrees == 0:
        return Move(*(torch.from_numpy((numbers + corner).ravel()) for corner in (first, second)))
    down, right = margins(torch.tensor([[height, width]]), torch.tensor([[degrees]]))[0].tolist()
    row, column = np.arange(-down, height + down), np.arange(-right, width + right)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = row + 0.5 - height / 2, column + 0.5 - width / 2  # from the centre
    row_before = np.floor(np.subtract.outer(cosine * y, sine * x) + height / 2).astype(int)
    column_before = np.floor(np.add.outer(sine * y, cosine * x) + width / 2).astype(int)
    inside = (row_before >= 0) & (row_before < height) & (column_before >= 0) & (column_before < width)
    return Move(
        torch.from_numpy(first + numbers[row_before[inside], column_before[inside]]),
        torch.from_numpy(second + np.add.outer(row * columns, column)[inside]),
    )


def read(source: Tensor, place: Tensor) -> Tensor:
    """Read the colours ``(3, P)`` of an image ``(3, H, W)`` at pixels with flat indices ``place``."""
    return source.flatten(1).index_select(1, place)


def blend(source: Tensor, image: Tensor, mask: Tensor, place: Tensor, paint: Tensor, delta: float) -> Tensor:
    """Write a copy of an image with paint blended in, and a mask of the changed pixels.

    Pixels whose change would be invisible keep their value.

    Anomalies cover a few per cent of an image. Lists of pixels, one image at a time, are therefore several times faster
    than whole batches.

    Args:
        source: Image to copy ``(3, H, W)``.
        image: Contiguous tensor to write the copy to ``(3, H, W)``.
        mask: Contiguous tensor to write the mask to ``(1, H, W)``.
        place: Flat indices of the pixels to paint ``(P,)``.
        paint: Colours of the paint ``(3, P)``.
        delta: Opacity of the paint; 1 gives exactly ``paint``.

    Returns:
        Number of changed pixels, a scalar.
    """
    pixels = image.copy_(source).view(3, -1)
    before = pixels.index_select(1, place)
    after = torch.lerp(before, paint, delta)
    changed = (after - before).abs_().amax(dim=0) > INVISIBLE
    pixels.index_copy_(1, place, torch.where(changed, after, before))
    mask.zero_().view(-1).scatter_(0, place, changed.to(mask.dtype))
    return changed.count_nonzero()


def paste(
    images: Tensor, moves: Sequence[Sequence[Move]], jitter: float = 0.0, generator: torch.Generator | None = None
) -> SyntheticBatch:
    """Copy pixels within each image. All pixels are read before any is written, and later moves cover earlier ones.

    Args:
        images: RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
        moves: Moves in each image, the same number for all.
        jitter: Largest change of each copy's brightness, contrast and saturation, as a share, and of its hue, in turns.
        generator: Source of the colour changes.

    Returns:
        Images, exact masks of the changed pixels, and kinds: structural, or normal if nothing changed.
    """
    seen = [_visible(each, images[0, 0].numel()) for each in moves]
    places = [torch.cat([part.target for part in parts]) for parts in seen]
    numbers = moved_together([*(part.source for parts in seen for part in parts), *places], images.device)
    sources, places = iter(numbers[: -len(places)]), numbers[-len(places) :]
    colours = [read(image, next(sources)) for image, parts in zip(images, seen, strict=True) for _ in parts]
    if jitter > 0:
        colours = adjust_lists(colours, random_colours(len(colours), generator, [jitter] * 4))
    mixed = torch.empty_like(images, memory_format=torch.contiguous_format)
    masks = torch.empty_like(mixed[:, :1], memory_format=torch.contiguous_format)
    changed, remaining = [], iter(colours)
    for image, output, mask, place, parts in zip(images, mixed, masks, places, seen, strict=True):
        paint = torch.cat([next(remaining) for _ in parts], dim=1)
        changed.append(blend(image, output, mask, place, paint, 1.0))
    return SyntheticBatch(mixed, masks, torch.where(torch.stack(changed) > 0, STRUCTURAL, NORMAL))


def _visible(moves: Sequence[Move], pixels: int) -> list[Move]:
    """Moves in reverse order, without the pixels that later moves cover."""
    free = torch.ones(pixels, dtype=torch.bool)
    seen = []
    for part in reversed(moves):
        shown = free[part.target]
        seen.append(Move(part.source[shown], part.target[shown]))
        free[part.target] = False
    return seen
