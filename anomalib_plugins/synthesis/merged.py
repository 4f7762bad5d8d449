# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Perlin blobs of a foreign texture merged with the image itself, as POUTA simulates anomalies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from anomalib_plugins.synthesis.augment import OPERATIONS, random_operations
from anomalib_plugins.synthesis.base import STRUCTURAL, AnomalyGenerator, SyntheticBatch
from anomalib_plugins.synthesis.draws import integers, uniform
from anomalib_plugins.synthesis.foreground import Foreground
from anomalib_plugins.synthesis.geometry import roll, rotate
from anomalib_plugins.synthesis.masks import MaskStyle, perlin_masks, place_masks
from anomalib_plugins.synthesis.sources import other_images
from anomalib_plugins.synthesis.textures import TextureSource, texture_source

# As in Draem: from one blob to a scatter of specks.
STYLE = MaskStyle(octaves=6, threshold=0.5, rectangles=4, side=(0.02, 0.30))
SHIFT = (0.1, 0.9)


class MergedTexture(AnomalyGenerator):
    """Simulated anomalies of POUTA (Wang et al., "Produce once, utilize twice for anomaly detection").

    In blobs of Perlin noise, the image gives way to a mixture of a foreign texture and of the image itself, which is
    left as it is, shifted or rotated, a third of the time each.

    Args:
        texture_root: Folder of texture images; ``None`` makes procedural textures.
        source: What is foreign: a ``"texture"``, or another normal image of the ``"pool"``, shifted or rotated.
        delta: Range of the foreign share of the mixture, in ``[0, 1]``.
        foreground: Where anomalies may be: ``"none"`` is anywhere; ``"auto"`` finds the object; or an MVTec AD object
            category.

    Raises:
        ValueError: If an option is outside its range or not among its choices.
        FileNotFoundError: If ``texture_root`` is no folder with images.

    Example:
        >>> images = torch.rand(4, 3, 64, 64)
        >>> batch = MergedTexture()(images, torch.Generator().manual_seed(0))
        >>> bool(((batch.image != images).any(dim=1, keepdim=True) == batch.mask.bool()).all())
        True
    """

    def __init__(
        self,
        texture_root: str | Path | None = None,
        source: Literal["texture", "pool"] = "texture",
        delta: Sequence[float] = (0.15, 1.0),
        foreground: str = "none",
    ) -> None:
        if source not in {"texture", "pool"}:
            msg = f'source must be "texture" or "pool", got {source!r}'
            raise ValueError(msg)
        if len(delta) != 2 or not 0 <= delta[0] <= delta[1] <= 1 or delta[1] == 0:
            msg = f"delta must be two numbers in [0, 1], the smaller first and the larger above 0, got {delta}"
            raise ValueError(msg)
        if source == "pool" and texture_root is not None:
            msg = f'source="pool" paints with other images: leave texture_root={str(texture_root)!r} out, or the source'
            raise ValueError(msg)
        self.low, self.high = delta
        self.foreground = Foreground(foreground)
        self.textures = texture_source(texture_root) if source == "texture" else None

    def simulate(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> SyntheticBatch:
        """Make every image anomalous, see ``AnomalyGenerator``."""

        def draw(which: Tensor) -> Tensor:
            return perlin_masks([STYLE] * len(which), images.shape[-2:], generator, images.device)

        place = place_masks(draw, self.foreground(images), minimum=1)
        foreign = self._foreign(images, pool, generator)
        delta = uniform((len(images), 1, 1, 1), self.low, self.high, generator).to(images)
        mixture = torch.lerp(moved(images, generator), foreign, delta)
        merged = torch.where(place, mixture, images)
        mask = (merged != images).any(dim=1, keepdim=True)
        same = ~mask.flatten(1).any(dim=1)
        if same.any():  # the mixture happens to be the image: every value moves by half the range instead
            merged[same] = torch.where(place[same], (images[same] + 0.5) % 1, images[same])
            mask[same] = place[same]
        kind = torch.full((len(images),), STRUCTURAL, device=images.device)
        return SyntheticBatch(merged, mask.to(images.dtype), kind)

    def _foreign(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> Tensor:
        """What does not belong into each image ``(N, 3, H, W)``."""
        if self.textures is None:
            return moved(other_images(images, pool, generator), generator)
        return random_textures(self.textures, images, generator)


def random_textures(textures: TextureSource, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A random texture for each image, changed by three random operations.

    The textures are put together on the CPU, where their files are, and travel to the device at once, in 8 bits.

    Args:
        textures: Where they come from.
        images: Batch ``(N, 3, H, W)``, whose size, kind and device they get.
        generator: Source of the choice of textures and operations.

    Returns:
        ``(N, 3, H, W)`` in ``[0, 1]``.
    """
    drawn = integers((len(images),), 0, len(textures), generator).tolist()
    height, width = images.shape[-2:]
    made = np.empty((len(images), height, width, 3), np.uint8)
    for number, order, amounts, place in zip(drawn, *random_operations(len(images), generator), made, strict=True):
        pixels = textures.get(number, (height, width))
        for operation, amount in zip(order, amounts, strict=True):
            pixels = OPERATIONS[operation](pixels, amount)
        place[:] = pixels
    return torch.from_numpy(made).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255


def moved(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each image ``(N, 3, H, W)`` as it is, shifted in a circle, or rotated and mirrored at the borders, T(I).

    Shifts are 0.1 to 0.9 of each side, angles -90 to 90 degrees.
    """
    way = integers((len(images),), 0, 3, generator)
    result = images.clone()
    shifted, rotated = ((way == number).nonzero()[:, 0] for number in (1, 2))
    if len(shifted):
        sides = torch.tensor(images.shape[-2:])
        shift = (uniform((len(shifted), 2), *SHIFT, generator) * sides).long()
        result[shifted] = roll(images[shifted], shift)
    if len(rotated):
        degrees = uniform((len(rotated),), -90, 90, generator)
        result[rotated] = rotate(images[rotated], degrees, padding="reflection")
    return result
