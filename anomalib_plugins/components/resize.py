# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Resizing with anti-aliasing in exported models, as in training."""

from collections.abc import Sequence
from typing import cast

import torch
from anomalib.pre_processing import PreProcessor
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import Compose, Resize, Transform

from anomalib_plugins.errors import UserError


def prepared(pre_processor: nn.Module | None, images: Tensor) -> Tensor:
    """Pre-process images ``(N, C, H, W)`` in exported graphs as in training.

    anomalib 2.7 leaves out the anti-aliasing outside the trainer, so that photos much larger than the model's images
    score differently than in training, validation and test.
    """
    if pre_processor is None or type(pre_processor).forward is not PreProcessor.forward:
        return images if pre_processor is None else pre_processor(images)
    for part in parts_of(cast("PreProcessor", pre_processor).transform):
        images = exported_resize(part, images) if torch.compiler.is_compiling() and shrinks(part) else part(images)
    return images


def parts_of(transform: Transform | None) -> list[Transform]:
    """Parts of a composed transform in their order."""
    if isinstance(transform, Compose):
        return [part for each in transform.transforms for part in parts_of(each)]
    return [] if transform is None else [transform]


def shrinks(part: Transform) -> bool:
    """Whether a transform resizes with anti-aliasing, which torchvision cannot do in exported graphs."""
    smooth = {InterpolationMode.BILINEAR, InterpolationMode.BICUBIC}
    return isinstance(part, Resize) and bool(part.antialias) and InterpolationMode(part.interpolation) in smooth


def refuse_unexportable(pre_processor: nn.Module | None, input_size: Sequence[int] | None) -> None:
    """Raise a ``ValueError`` if an exported file cannot resize as in training.

    That is the case if the pre-processor does not resize bilinearly, or to a size that depends on that of the photo and
    no ``input_size`` fixes the latter.
    """
    for part in filter(shrinks, parts_of(getattr(pre_processor, "transform", None))):
        if InterpolationMode(part.interpolation) != InterpolationMode.BILINEAR:
            msg = f"{part} cannot be exported: take the bilinear interpolation, and train again"
            raise UserError(msg)
        if input_size is None and (part.size is None or len(part.size) != 2):
            msg = f"{part} cannot be exported for photos of any size: add theirs, e.g. --input_size '[480, 640]'"
            raise UserError(msg)


def exported_resize(part: Resize, images: Tensor) -> Tensor:
    """A torchvision ``Resize`` for exported graphs."""
    if part.size is not None and len(part.size) == 2:
        return antialiased_resize(images, part.size)
    height, width = images.shape[-2:]
    return antialiased_resize(images, part(Image.new("L", (width, height))).size[::-1])


def antialiased_resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images ``(N, C, H, W)`` as ``interpolate(mode="bilinear", antialias=True)`` does, by two matrix products.

    That operation itself is not in ONNX's older opsets, and OpenVINO takes seconds for it. NaN spreads over its image.
    """
    height, width = images.shape[-2:]
    rows, columns = (
        triangles(length, new, images.device).to(images.dtype) for length, new in ((height, size[0]), (width, size[1]))
    )
    return rows @ images @ columns.T


def triangles(length: int, new: int, device: torch.device | None = None) -> Tensor:
    """Share of every old pixel in every new one by the triangle filter: ``(new, length)``; rows sum to 1.

    Positions are integers until the end: in bfloat16, the default of OpenVINO on some processors, neighbouring pixels
    from the 256th on would have the same position.
    """
    old_centres = (2 * torch.arange(length, device=device) + 1) * new
    new_centres = (2 * torch.arange(new, device=device) + 1) * length
    weights = (2 * max(length, new) - (old_centres - new_centres[:, None]).abs()).clamp(min=0)
    return weights.float() / weights.sum(dim=1, keepdim=True).float()
