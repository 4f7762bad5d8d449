# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Base class of the generators of simulated anomalies, with their input, output and random numbers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.errors import UserError

MIN_SIZE = 32
NORMAL, STRUCTURAL, LOGICAL = 0, 1, 2
NEIGHBOURHOOD = 7  # pixels, in which a change is seen or not
INVISIBLE = 0.5 / 255  # largest change of a channel that counts as rounding: half a grey level of 8 bits


class SyntheticBatch(NamedTuple):
    """Images with one simulated anomaly each.

    Attributes:
        image: RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
        mask: Masks ``(N, 1, H, W)``, 1 on exactly the pixels that differ from the input image, 0 elsewhere. Changes of
            less than half a grey level of 8 bits are not made.
        kind: Kinds ``(N,)``: 0 is normal, 1 a structural and 2 a logical anomaly.
    """

    image: Tensor
    mask: Tensor
    kind: Tensor


class AnomalyGenerator(ABC):
    """Puts one simulated anomaly into every image of a batch; subclasses implement ``simulate``."""

    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator | None = None,
        pool: Tensor | None = None,
    ) -> SyntheticBatch:
        """Put an anomaly into every image, in full precision even under autocast.

        Args:
            images: Normal RGB images ``(N, 3, H, W)`` in ``[0, 1]``, at least 32 pixels per side; not modified.
            generator: Source of all randomness. The same seed gives the same anomalies on any device.
            pool: Normal images ``(M, 3, H, W)`` that anomalies may copy from. ``None`` uses ``images``.

        Returns:
            Anomalous images with masks and kinds, on the device of ``images``.

        Raises:
            ValueError: If the images or the pool have other shapes, or the images are not floats.
        """
        check_images(images, pool)
        with torch.autocast(images.device.type, enabled=False):
            return self.simulate(images, images if pool is None else pool, generator)

    @abstractmethod
    def simulate(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> SyntheticBatch:
        """Simulate anomalies for ``__call__``, which has checked the input."""


def check_images(images: Tensor, pool: Tensor | None = None) -> None:
    """Check the input of a generator and raise a ``ValueError`` if it is invalid."""
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        msg = f"expected RGB images (N, 3, H, W) with N >= 1, got shape {tuple(images.shape)}"
        raise UserError(msg)
    if not images.is_floating_point():
        msg = f"expected float images in [0, 1], got {images.dtype}; divide 8-bit images by 255"
        raise UserError(msg)
    if min(images.shape[-2:]) < MIN_SIZE:
        msg = f"images must be at least {MIN_SIZE} pixels per side, got {tuple(images.shape[-2:])}"
        raise UserError(msg)
    if pool is not None and (pool.shape[1:] != images.shape[1:] or len(pool) == 0):
        msg = f"the pool must hold images of shape {tuple(images.shape[1:])} like the batch, got {tuple(pool.shape)}"
        raise UserError(msg)


def uniform(
    shape: Sequence[int], low: float = 0.0, high: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Draw floats in ``[low, high)``, on the CPU: anomalies are the same on every device."""
    device = generator.device if generator is not None else "cpu"
    return torch.rand(tuple(shape), generator=generator, device=device).cpu() * (high - low) + low


def integers(shape: Sequence[int], low: int, high: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw integers in ``[low, high)``, on the CPU."""
    device = generator.device if generator is not None else "cpu"
    return torch.randint(low, high, tuple(shape), generator=generator, device=device).cpu()


def chance(count: int, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw ``count`` booleans ``(count,)``, each true with ``probability``, on the CPU."""
    return uniform((count,), generator=generator) < probability


def moved_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Move tensors of one type from one device to another in a single transfer: a GPU is slow at many small ones."""
    if len(tensors) == 0 or tensors[0].device == device:
        return list(tensors)
    moved = torch.cat([each.flatten() for each in tensors]).to(device)
    parts = moved.split([each.numel() for each in tensors])
    return [part.view(each.shape) for part, each in zip(parts, tensors, strict=True)]


def check_minimum_change(minimum_change: float) -> None:
    """Check the smallest change that counts: where nothing else does, colours change by 0.5."""
    if not 0 <= minimum_change < 0.5:
        msg = f"minimum_change must be at least 0 and less than 0.5, got {minimum_change}"
        raise UserError(msg)


def keep_visible(images: Tensor, mixed: Tensor, masks: Tensor, least: float) -> Tensor:
    """Undo in place the parts of anomalies that are too faint to be seen.

    Args:
        images: Images before the change ``(N, 3, H, W)``.
        mixed: Images after it.
        masks: Changed pixels ``(N, 1, H, W)``, 1 or 0.
        least: Mean change around a pixel to keep, of the channel that changes most.

    Returns:
        Number of pixels kept of each image ``(N,)``.
    """
    change = (mixed - images).abs().amax(dim=1, keepdim=True)  # 0 outside of the masks
    around, changed = (F.avg_pool2d(each, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2) for each in (change, masks))
    masks *= around >= least * changed
    mixed.copy_(mixed.where(masks > 0, images))
    return masks.flatten(1).sum(dim=1)
