# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What simulated anomalies are made of: textures, the image itself in disorder, or another normal image."""

from collections.abc import Callable

import torch
from torch import Tensor

from anomalib_plugins.synthesis.augment import augment, shift_brightness, shift_hue_saturation
from anomalib_plugins.synthesis.draws import chance, integers, uniform
from anomalib_plugins.synthesis.geometry import rotate
from anomalib_plugins.synthesis.textures import TextureSource
from anomalib_plugins.synthesis.tiles import shuffle_tiles

SELF_TILES = (4, 8)


def texture_patches(images: Tensor, textures: TextureSource, generator: torch.Generator | None = None) -> Tensor:
    """A random texture for each image ``(N, 3, H, W)``, changed by three random operations."""
    drawn = textures(len(images), images.shape[-2:], generator, images.device)
    return augment(drawn, generator).to(images.dtype)


def self_patches(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each image ``(N, 3, H, W)`` itself: mirrored, rotated by up to 90 degrees, recoloured, its 4 x 8 tiles shuffled."""
    mirror = 1 - 2.0 * integers((len(images), 2), 0, 2, generator)
    moved = rotate(images, uniform((len(images),), -90, 90, generator), mirror, padding="reflection")
    recoloured = shift_hue_saturation(shift_brightness(moved, generator), generator)
    return shuffle_tiles(recoloured, *SELF_TILES, generator)


def other_images(images: Tensor, pool: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """For each image ``(N, 3, H, W)`` another one of the pool ``(M, 3, H, W)``, all others equally likely.

    An image is not "another" if its pixels are the same. Where the pool has no other, the image's own tiles shuffled.
    """
    picked = integers((len(images),), 0, len(pool), generator)
    step = integers((len(images),), 1, max(len(pool), 2), generator)
    source = pool[picked.to(pool.device)].to(images)
    same = _equal(source, images)
    picked = torch.where(same.cpu(), (picked + step) % len(pool), picked)
    source[same] = pool[picked.to(pool.device)].to(images)[same]
    same = _equal(source, images)
    source[same] = shuffle_tiles(images, 3, 3, generator)[same]
    return source


def turned(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Rotate each image by -5 to 5 degrees, every second one upside down, mirrored at the borders."""
    degrees = uniform((len(images),), -5, 5, generator) + 180 * chance(len(images), 0.5, generator)
    return rotate(images, degrees, padding="reflection")


def change_some(images: Tensor, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of ``images`` ``(N, C, H, W)`` in which those ``chosen`` ``(N,)`` went through ``change`` together."""
    if not chosen.any():
        return images
    where = chosen.nonzero()[:, 0].to(images.device)
    return images.index_copy(0, where, change(images[where]))


def _equal(first: Tensor, second: Tensor) -> Tensor:
    """Which images ``(N,)`` of two batches have the same pixels."""
    return (first == second).flatten(1).all(dim=1)
