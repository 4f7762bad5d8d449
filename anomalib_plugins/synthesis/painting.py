# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Painting the masked pixels: an anomaly covers few of them, so only those are computed."""

from collections.abc import Sequence

import torch
from torch import Tensor

# For each image the numbers of its masked pixels, row by row ``(P,)``, with ``P`` its own for each.
Places = Sequence[Tensor]


def read(source: Tensor, place: Tensor) -> Tensor:
    """Colours ``(3, P)`` of an image ``(3, H, W)`` at the pixels of numbers ``place``."""
    return source.flatten(1).index_select(1, place)


def opposite(
    images: Tensor,
    places: Places,
    which: Sequence[int],
    generator: torch.Generator | None = None,  # noqa: ARG001
) -> list[Tensor]:
    """Colours of the images of numbers ``which``, half the range away in every channel, so that every pixel differs."""
    colours = [read(images[number], places[number]) for number in which]
    return [torch.where(colour < 0.5, colour + 0.5, colour - 0.5) for colour in colours]


def blend(source: Tensor, image: Tensor, mask: Tensor, place: Tensor, paint: Tensor, delta: float) -> Tensor:
    """Write a copy of an image with paint mixed in, and a mask of what that changed.

    An anomaly covers a few per cent of an image, each another share, so that lists of pixels one image at a time are
    several times faster than whole batches.

    Args:
        source: Image to copy ``(3, H, W)``.
        image: Where to write the copy ``(3, H, W)``, contiguous.
        mask: Where to write the mask ``(1, H, W)``, contiguous.
        place: Where to paint, as pixel numbers row by row ``(P,)``.
        paint: Colours to put there ``(3, P)``.
        delta: Opacity of the paint: 1 puts exactly ``paint``.

    Returns:
        Number of changed pixels, a scalar.
    """
    pixels = image.copy_(source).view(3, -1)
    before = pixels.index_select(1, place)
    after = torch.lerp(before, paint, delta)
    changed = (after != before).view(torch.uint8).amax(dim=0)  # any() takes several times as long
    pixels.index_copy_(1, place, after)
    mask.zero_().view(-1).scatter_(0, place, changed.to(mask.dtype))
    return changed.count_nonzero()
