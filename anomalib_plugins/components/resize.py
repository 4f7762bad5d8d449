# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Exported models that shrink photos as training does."""

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
    """What a pre-processor makes of images: the same in exported graphs as in training.

    anomalib 2.7 leaves out the anti-aliasing outside the trainer, so that photos much larger than the model's images
    score otherwise than in training, validation and test.

    Args:
        pre_processor: anomalib's, or a module of the user's.
        images: ``(N, C, H, W)``.
    """
    if pre_processor is None or type(pre_processor).forward is not PreProcessor.forward:
        return images if pre_processor is None else pre_processor(images)
    for part in parts_of(cast("PreProcessor", pre_processor).transform):
        images = exported_resize(part, images) if torch.compiler.is_compiling() and shrinks(part) else part(images)
    return images


def parts_of(transform: Transform | None) -> list[Transform]:
    """Transforms that a composed one is made of, in their order."""
    if isinstance(transform, Compose):
        return [part for each in transform.transforms for part in parts_of(each)]
    return [] if transform is None else [transform]


def shrinks(part: Transform) -> bool:
    """Whether a transform resizes with anti-aliasing, which torchvision's cannot do in exported graphs."""
    smooth = {InterpolationMode.BILINEAR, InterpolationMode.BICUBIC}
    return isinstance(part, Resize) and bool(part.antialias) and InterpolationMode(part.interpolation) in smooth


def refuse_unexportable(pre_processor: nn.Module | None, input_size: Sequence[int] | None) -> None:
    """Say so if an exported file could not resize as training does.

    Args:
        pre_processor: The model's.
        input_size: Height and width the file is to be fixed to, if any.

    Raises:
        ValueError: If it resizes otherwise than bilinearly, or to a size that depends on the photo's.
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
