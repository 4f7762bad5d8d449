# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Sources of simulated anomalies: the image itself in disorder, or another normal image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalib_plugins.synthesis.base import chance, integers, uniform
from anomalib_plugins.synthesis.colour import colour_jitter
from anomalib_plugins.synthesis.geometry import rotate, shuffle_tiles

SELF_TILES = (4, 8)
SELF_COLOURS = {"brightness": 0.2, "saturation": 0.2, "hue": 0.2}
ALONE_TILES = (3, 3)


def self_patches(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each image ``(N, 3, H, W)``, rotate it by up to 90 degrees, recolour it and shuffle its 4 x 8 tiles."""
    mirror = 1 - 2.0 * integers((len(images), 2), 0, 2, generator)
    moved = rotate(images, uniform((len(images),), -90, 90, generator), mirror, padding="reflection")
    return shuffle_tiles(colour_jitter(moved, generator, **SELF_COLOURS), *SELF_TILES, generator)


def other_images(images: Tensor, pool: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw another image from the pool ``(M, 3, H, W)`` for each image ``(N, 3, H, W)``, all others equally likely.

    Images with the same pixels do not count as others. If the pool has no other image, the image's own tiles are
    shuffled.
    """
    picked = integers((len(images),), 0, len(pool), generator)
    next_picked = (picked + integers((len(images),), 1, max(len(pool), 2), generator)) % len(pool)
    source = pool[picked.to(pool.device)].to(images)
    for which in _equal(source, images):
        source[which] = pool[next_picked[which]].to(images)
        if torch.equal(source[which], images[which]):
            source[which] = shuffle_tiles(images[which : which + 1], *ALONE_TILES, generator)[0]
    return source


def turned(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Rotate each image by -5 to 5 degrees, with probability 0.5 also by 180 degrees, mirrored at the borders."""
    degrees = uniform((len(images),), -5, 5, generator) + 180 * chance(len(images), 0.5, generator)
    return rotate(images, degrees, padding="reflection")


def flip(images: Tensor, generator: torch.Generator | None = None, axis: int = 2) -> Tensor:  # noqa: ARG001
    """Mirror each image ``(N, 3, H, W)`` along an axis: 2 swaps top and bottom, 3 swaps left and right."""
    return images.flip(axis)


def repeat_middle_rows(images: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG001
    """Copy the second quarter of each image's rows over the first, and the third over the last."""
    quarter = images.shape[2] // 4
    images = images.clone()
    images[:, :, :quarter] = images[:, :, quarter : 2 * quarter]
    images[:, :, 3 * quarter : 4 * quarter] = images[:, :, 2 * quarter : 3 * quarter]
    return images


@dataclass(frozen=True)
class Recipe:
    """Recipe for the source of a logical anomaly.

    Attributes:
        probability: Probability of this recipe.
        steps: Functions of images ``(N, 3, H, W)`` and ``generator``, applied in this order.
        other: Whether to start from another image of the pool instead of the image itself.
    """

    probability: float
    steps: tuple[Callable[..., Tensor], ...] = ()
    other: bool = False


def logical_sources(
    images: Tensor, pool: Tensor, recipes: Sequence[Recipe], generator: torch.Generator | None = None
) -> Tensor:
    """Make a source for each image ``(N, 3, H, W)`` by one of several recipes, with other images from a pool."""
    ends = torch.tensor([recipe.probability for recipe in recipes]).cumsum(0)[:-1]
    chosen = torch.bucketize(uniform((len(images),), generator=generator), ends, right=True)
    sources = torch.empty_like(images)
    for number, recipe in enumerate(recipes):
        which = (chosen == number).nonzero()[:, 0].tolist()
        if which:
            made = other_images(images[which], pool, generator) if recipe.other else images[which]
            for step in recipe.steps:
                made = step(made, generator=generator)
            sources[which] = made
    return sources


def _equal(first: Tensor, second: Tensor) -> list[int]:
    """Indices of the images with the same pixels in both batches."""
    return (first == second).flatten(1).all(dim=1).cpu().nonzero()[:, 0].tolist()
