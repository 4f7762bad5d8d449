# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Exported models that shrink photos as training does."""

from collections.abc import Sequence

import torch
from anomalib.pre_processing import PreProcessor
from torch import Tensor
from torchvision.transforms.v2 import Compose, Resize


class AntialiasedPreProcessor(PreProcessor):
    """anomalib's, but for what it does outside the trainer and in exported models.

    anomalib 2.7 leaves out the anti-aliasing there, so that photos much larger than the model's images score otherwise
    than in training, validation and test. A transform that is more than a resize is left to anomalib.
    """

    def forward(self, batch: Tensor) -> Tensor:
        """Resize photos ``(N, C, H, W)``."""
        transform = self.transform
        parts = transform.transforms if isinstance(transform, Compose) else [transform]
        resizes = len(parts) == 1 and isinstance(parts[0], Resize) and parts[0].antialias and len(parts[0].size) == 2
        if not resizes:
            return super().forward(batch)
        return antialiased_resize(batch, parts[0].size) if torch.compiler.is_compiling() else transform(batch)


def antialiased_resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize as ``interpolate(mode="bilinear", antialias=True)`` does, by two matrix products.

    That operation itself is not in ONNX's older opsets, and OpenVINO takes seconds for it.

    Args:
        images: ``(N, C, H, W)`` of any height and width.
        size: New height and width in pixels.

    Returns:
        ``(N, C, *size)``. A pixel that is no number makes its image so.
    """
    height, width = images.shape[-2:]
    rows, columns = (
        triangles(length, new, images.device).to(images.dtype) for length, new in ((height, size[0]), (width, size[1]))
    )
    return rows @ images @ columns.T


def triangles(length: int, new: int, device: torch.device | None = None) -> Tensor:
    """Share of every old pixel in every new one, by the triangle filter.

    Positions are whole numbers until the end: in bfloat16, the default of OpenVINO on some processors, the thousandth
    pixel would not be told from its neighbours.

    Args:
        length: Old pixels.
        new: New pixels.
        device: Where to compute.

    Returns:
        Float32 ``(new, length)`` whose rows sum to 1.
    """
    old_centres = (2 * torch.arange(length, device=device) + 1) * new
    new_centres = (2 * torch.arange(new, device=device) + 1) * length
    weights = (2 * max(length, new) - (old_centres - new_centres[:, None]).abs()).clamp(min=0)
    return weights.float() / weights.sum(dim=1, keepdim=True).float()
