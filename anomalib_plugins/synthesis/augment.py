# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The ten colour and geometry operations of DRAEM, batched, that make one texture look like many."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms.v2 import functional as TF  # noqa: N812

from anomalib_plugins.synthesis.colour import adjust_colour
from anomalib_plugins.synthesis.draws import chance, integers, uniform
from anomalib_plugins.synthesis.geometry import rotate

Operation = Callable[[Tensor, torch.Generator | None], Tensor]


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Shape values ``(N,)`` or ``(N, C)`` to multiply images."""
    return values.to(images).view(len(images), -1, 1, 1)


def gamma_contrast(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Raise each channel to its own power from 0.5 to 2."""
    return images.pow(_per_image(uniform((len(images), 3), 0.5, 2, generator), images))


def shift_brightness(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Multiply by 0.8 to 1.2, then add -30 to 30 grey values of 255."""
    factor = uniform((len(images),), 0.8, 1.2, generator)
    offset = uniform((len(images),), -30 / 255, 30 / 255, generator)
    return torch.addcmul(_per_image(offset, images), images, _per_image(factor, images)).clamp_(0, 1)


def sharpen(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Blend with a smoothed copy by a factor from 0 (smooth) to 3 (sharp), 1 changing nothing."""
    factor = _per_image(uniform((len(images),), 0, 3, generator), images)
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = box.add_(images, alpha=4).div_(13)  # PIL's smoothing kernel: 5 at the centre, 1 around it
    return torch.lerp(smooth, images, factor).clamp_(0, 1)


def shift_hue_saturation(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Turn the hue by -50/255 to 50/255 of the circle and add as much to the saturation of HSV."""
    hue = uniform((len(images),), -50 / 255, 50 / 255, generator)
    shift = _per_image(uniform((len(images),), -50 / 255, 50 / 255, generator), images)
    value = images.amax(dim=1, keepdim=True)
    saturation = (value - images.amin(dim=1, keepdim=True)) / value.clamp(min=1e-6)
    # Grey pixels have no hue to saturate, they stay grey.
    factor = torch.where(saturation > 0, (saturation + shift).clamp_(0, 1) / saturation.clamp(min=1e-6), 1)
    one = torch.ones(len(images))
    return adjust_colour(torch.lerp(value, images, factor), one, one, one, hue)


def solarize(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """With probability 0.5 invert the values above a threshold from 32/255 to 128/255."""
    threshold = uniform((len(images),), 32 / 255, 128 / 255, generator)
    threshold[~chance(len(images), 0.5, generator)] = 2.0
    return torch.where(images >= _per_image(threshold, images), 1 - images, images)


def posterize(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Keep the 1 to 8 highest bits of each 8-bit value."""
    step = _per_image(2.0 ** (8 - integers((len(images),), 1, 9, generator)), images)
    return (images * 255).div_(step).floor_().mul_(step).div_(255)


def invert(images: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG001
    """Swap dark and bright."""
    return 1 - images


def auto_contrast(images: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG001
    """Stretch each channel to the full range."""
    return TF.autocontrast(images)


def equalize(images: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG001
    """Flatten the histogram of each channel."""
    return TF.equalize((images * 255).round_().byte()).to(images.dtype).div_(255)


def turn(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Rotate by -45 to 45 degrees, black outside."""
    return rotate(images, uniform((len(images),), -45, 45, generator))


OPERATIONS: tuple[Operation, ...] = (
    gamma_contrast,
    shift_brightness,
    sharpen,
    shift_hue_saturation,
    solarize,
    posterize,
    invert,
    auto_contrast,
    equalize,
    turn,
)


def augment(images: Tensor, generator: torch.Generator | None = None, count: int = 3) -> Tensor:
    """Apply ``count`` different operations in random order to each image, its own choice for each.

    Images that drew the same operation at the same place in their order go through it together.

    Args:
        images: RGB batch ``(N, 3, H, W)`` in ``[0, 1]``; not modified.
        generator: Source of the choice and of each operation's amounts.
        count: Operations per image, 0 to 10.

    Returns:
        Batch of the same shape in ``[0, 1]``.

    Raises:
        ValueError: If ``count`` is more than there are operations, or negative.
    """
    if not 0 <= count <= len(OPERATIONS):
        msg = f"count must be 0 to {len(OPERATIONS)} operations, got {count}"
        raise ValueError(msg)
    images = images.clone()
    order = uniform((len(images), len(OPERATIONS)), generator=generator).argsort(dim=1)[:, :count]
    for chosen in order.T:
        for number in chosen.unique().tolist():
            which = (chosen == number).nonzero()[:, 0].to(images.device)
            images[which] = OPERATIONS[number](images[which], generator)
    return images
