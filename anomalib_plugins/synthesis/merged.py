# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""POUTA's simulated anomalies: Perlin blobs of a foreign texture merged with the image itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anomalib_plugins.components.checks import check_choice, check_range
from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import (
    INVISIBLE,
    STRUCTURAL,
    AnomalyGenerator,
    SyntheticBatch,
    check_minimum_change,
    integers,
    keep_visible,
    uniform,
)
from anomalib_plugins.synthesis.geometry import roll, rotate
from anomalib_plugins.synthesis.masks import Foreground, MaskStyle, perlin_masks, place_masks
from anomalib_plugins.synthesis.sources import other_images
from anomalib_plugins.synthesis.textures import random_textures, texture_source

# As in DRAEM, from a single blob to many specks.
STYLE = MaskStyle(octaves=6, threshold=0.5, rectangles=4, side=(0.02, 0.30))
SHIFT = (0.1, 0.9)


class MergedTexture(AnomalyGenerator):
    """Simulated anomalies of POUTA (Wang et al., "Produce once, utilize twice for anomaly detection").

    Blobs of Perlin noise are filled with a mixture of a foreign image and the image itself. The latter is unchanged,
    shifted or rotated, with equal probability.

    Args:
        texture_root: Folder of texture images. ``None`` uses procedural textures.
        source: Foreign image, ``"texture"`` or another normal image of the ``"pool"``, which is moved likewise.
        delta: Range of the foreign share of the mixture, in ``[0, 1]``.
        foreground: Region for anomalies: ``"none"`` is the whole image, ``"auto"`` detects the object, and the name of
            an MVTec AD object category uses its threshold.
        minimum_change: Smallest change of anomalies, see :class:`SimulatedAnomaly`. The paper has no such limit, 0.

    Raises:
        ValueError: If an option is out of range or not among its choices.
        FileNotFoundError: If ``texture_root`` is not a folder with images.

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
        minimum_change: float = 0.1,
    ) -> None:
        check_choice("source", source, ("texture", "pool"))
        check_range("delta", delta)
        if source == "pool" and texture_root is not None:
            msg = f'source="pool" uses no textures: remove it or texture_root={str(texture_root)!r}'
            raise UserError(msg)
        check_minimum_change(minimum_change)
        self.low, self.high = delta
        self.minimum_change = minimum_change
        self.foreground = Foreground(foreground)
        self.textures = texture_source(texture_root) if source == "texture" else None

    def simulate(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> SyntheticBatch:
        """Merge a foreign image into a Perlin mask of every image."""

        def draw(which: Tensor) -> Tensor:
            return perlin_masks([STYLE] * len(which), images.shape[-2:], generator, images.device)

        place = place_masks(draw, self.foreground(images), minimum=1)
        foreign = self._foreign(images, pool, generator)
        delta = uniform((len(images), 1, 1, 1), self.low, self.high, generator).to(images)
        mixture = torch.lerp(moved(images, generator), foreign, delta)
        changed = place & ((mixture - images).abs_().amax(dim=1, keepdim=True) > INVISIBLE)
        merged, mask = torch.where(changed, mixture, images), changed.to(images.dtype)
        same = keep_visible(images, merged, mask, self.minimum_change) == 0
        if same.any():  # the mixture looks like the image: shift every value by half the range instead
            merged[same] = torch.where(place[same], (images[same] + 0.5) % 1, images[same])
            mask[same] = place[same].to(images.dtype)
        kind = torch.full((len(images),), STRUCTURAL, device=images.device)
        return SyntheticBatch(merged, mask, kind)

    def _foreign(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw a foreign image for each image ``(N, 3, H, W)``."""
        if self.textures is None:
            return moved(other_images(images, pool, generator), generator)
        made = torch.from_numpy(random_textures(self.textures, len(images), images.shape[-2:], generator))
        return made.to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255


def moved(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Transform each image ``(N, 3, H, W)`` by T(I): no change, a shift with wrap-around, or a rotation.

    Shifts are 0.1 to 0.9 of each side. Angles are -90 to 90 degrees, with the image mirrored at its borders.
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
