# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Brightness, contrast, saturation and hue of a batch as one affine colour transform per image."""

import math

import torch
from torch import Tensor

from anomalib_plugins.synthesis.draws import chance, uniform

LUMA = (0.299, 0.587, 0.114)
# RGB to luma and two colour axes (NTSC YIQ): hue turns in the plane of the last two, so it keeps the luma.
_YIQ = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
_RGB = torch.linalg.inv(_YIQ)


def adjust_colour(
    images: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    saturation: Tensor,
    hue: Tensor,
) -> Tensor:
    """Change the colours of every image by its own amounts, in the order of the arguments.

    All four are affine in the RGB values, so they are one 3 x 3 matrix and one offset per image, clamped once at the
    end. Hue turns colours about the grey axis at constant luma, which needs no conversion to HSV and no branches.

    Args:
        images: RGB batch ``(N, 3, H, W)`` in ``[0, 1]``.
        brightness: Factor of each image ``(N,)``, 1 changes nothing.
        contrast: Factor of the distance to the image's mean luma ``(N,)``, 1 changes nothing.
        saturation: Factor of the distance to grey ``(N,)``, 1 changes nothing and 0 makes grey.
        hue: Shift in turns ``(N,)``, 0 changes nothing.

    Returns:
        Batch of the same shape in ``[0, 1]``.
    """
    flat = images.flatten(2)  # (N, 3, H * W)
    cosine, sine = (2 * math.pi * hue).cos(), (2 * math.pi * hue).sin()
    turn = torch.eye(3).repeat(len(images), 1, 1)
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cosine, -sine, sine, cosine
    grey = _YIQ[0].expand(3, 3)
    saturate = torch.lerp(grey, torch.eye(3), saturation[:, None, None])
    matrix = (contrast * brightness)[:, None, None] * (_RGB @ turn @ _YIQ @ saturate)  # (N, 3, 3)
    mean_luma = flat.mean(dim=2) @ _YIQ[0].to(images)  # (N,)
    offset = ((1 - contrast) * brightness).to(images) * mean_luma
    return torch.baddbmm(offset[:, None, None], matrix.to(images), flat).clamp_(0, 1).view_as(images)


def colour_jitter(
    images: Tensor,
    generator: torch.Generator | None = None,
    brightness: float = 0.1,
    contrast: float = 0.0,
    saturation: float = 0.1,
    hue: float = 0.0,
    probability: float = 1.0,
) -> Tensor:
    """Randomly change the colours of each image; the defaults are those of SLSG's training images.

    Args:
        images: RGB batch ``(N, 3, H, W)`` in ``[0, 1]``.
        generator: Source of the amounts.
        brightness: Factors come from ``1 - brightness`` to ``1 + brightness``.
        contrast: Factors come from ``1 - contrast`` to ``1 + contrast``.
        saturation: Factors come from ``1 - saturation`` to ``1 + saturation``.
        hue: Shifts come from ``-hue`` to ``hue`` turns.
        probability: Share of the images that are changed at all.

    Returns:
        Batch of the same shape in ``[0, 1]``.
    """
    chosen = chance(len(images), probability, generator).float()
    change = uniform((4, len(images)), -1, 1, generator) * chosen
    amounts = change * torch.tensor([brightness, contrast, saturation, hue])[:, None]
    return adjust_colour(images, 1 + amounts[0], 1 + amounts[1], 1 + amounts[2], amounts[3])
