# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Brightness, contrast, saturation and hue of a batch as one affine colour transform per image."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anomalib_plugins.synthesis.base import moved_together, uniform

LUMA = (0.299, 0.587, 0.114)
# RGB to luma and two colour axes (NTSC YIQ). A change of hue rotates the plane of the last two and keeps the luma.
_YIQ = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
_RGB = torch.linalg.inv(_YIQ)
# Matrices that keep the grey part of a colour, keep the rest, and rotate the rest by a quarter turn.
_GREY = _RGB[:, :1] @ _YIQ[:1]
_COLOUR = torch.eye(3) - _GREY
_TURNED = _RGB[:, 2:] @ _YIQ[1:2] - _RGB[:, 1:2] @ _YIQ[2:]


class ColourChange(NamedTuple):
    """Amounts of colour change of each image, ``(N,)`` each, applied in the order of the fields.

    Attributes:
        brightness: Factor of all values; 1 changes nothing.
        contrast: Factor of the distance to the mean luma; 1 changes nothing.
        saturation: Factor of the distance to grey; 1 changes nothing, 0 makes grey.
        hue: Shift in turns; 0 changes nothing.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor

    def affine(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the change as affine maps of RGB values, with the device and type of another tensor.

        Returns:
            Matrices ``(N, 3, 3)`` that the values are multiplied by, factors ``(N,)`` of the mean luma that is added,
            and the weights of that luma ``(3,)``.
        """
        parts = self._matrix(), (1 - self.contrast) * self.brightness, _YIQ[0]
        matrix, grey, luma = moved_together([part.to(like.dtype) for part in parts], like.device)
        return matrix, grey, luma

    def _matrix(self) -> Tensor:
        scale, saturation, hue = (
            amount[:, None, None]
            for amount in (self.contrast * self.brightness, self.saturation, 2 * math.pi * self.hue)
        )
        return scale * (_GREY + saturation * (hue.cos() * _COLOUR + hue.sin() * _TURNED))


def random_colours(count: int, generator: torch.Generator | None, ranges: Sequence[float]) -> ColourChange:
    """Draw amounts for ``count`` images within the ranges of the four changes, see :func:`colour_jitter`."""
    change = uniform((4, count), -1, 1, generator) * torch.tensor(ranges)[:, None]
    return ColourChange(1 + change[0], 1 + change[1], 1 + change[2], change[3])


def adjust_colour(images: Tensor, change: ColourChange) -> Tensor:
    """Change the colours of every image by its own amounts.

    The whole change is affine in RGB: one 3 x 3 matrix and one offset per image, clamped once at the end. Changes of
    hue rotate colours around the grey axis at constant luma, which needs neither HSV nor branches.

    Args:
        images: RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
        change: Amounts of change of each image.
    """
    flat = images.flatten(2)  # (N, 3, H * W)
    with torch.autocast(images.device.type, enabled=False):
        matrix, grey, luma = change.affine(images)
        offset = grey * (flat.mean(dim=2) @ luma)
        return torch.baddbmm(offset[:, None, None], matrix, flat).clamp_(0, 1).view_as(images)


def adjust_lists(colours: Sequence[Tensor], change: ColourChange) -> list[Tensor]:
    """Change colours as ``adjust_colour`` does, for lists of pixels ``(3, P)`` of different lengths."""
    if len(colours) == 0:
        return []
    mean = torch.stack([pixels.mean(dim=1) for pixels in colours])
    matrices, grey, luma = change.affine(mean)
    offsets = grey * (mean @ luma)
    return [
        torch.addmm(offset, matrix, pixels).clamp_(0, 1)
        for offset, matrix, pixels in zip(offsets, matrices, colours, strict=True)
    ]


def colour_jitter(
    images: Tensor,
    generator: torch.Generator | None = None,
    brightness: float = 0.1,
    contrast: float = 0.0,
    saturation: float = 0.1,
    hue: float = 0.0,
) -> Tensor:
    """Randomly change the colours of each image; the defaults are those of SLSG's training images.

    Args:
        images: RGB batch ``(N, 3, H, W)`` in ``[0, 1]``.
        generator: Source of the amounts.
        brightness: Range of brightness factors, ``[1 - brightness, 1 + brightness]``.
        contrast: Range of contrast factors, ``[1 - contrast, 1 + contrast]``.
        saturation: Range of saturation factors, ``[1 - saturation, 1 + saturation]``.
        hue: Range of hue shifts, ``[-hue, hue]`` turns.
    """
    return adjust_colour(images, random_colours(len(images), generator, (brightness, contrast, saturation, hue)))
