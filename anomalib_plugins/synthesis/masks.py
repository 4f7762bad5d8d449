# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks of simulated anomalies: thresholded Perlin noise or rectangles, limited to the object."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anomalib_plugins.synthesis.draws import chance, moved_together, uniform
from anomalib_plugins.synthesis.foreground import BrightObject
from anomalib_plugins.synthesis.geometry import rotate, rotations, warp_plane
from anomalib_plugins.synthesis.perlin import perlin_noise

ATTEMPTS = 20


@dataclass(frozen=True)
class MaskStyle:
    """Size and scatter of the masks of one kind of anomaly.

    Attributes:
        octaves: Number of lattice sizes. Perlin lattices have ``2 ** u`` cells along an axis, with ``u`` drawn from
            ``0`` to ``octaves - 1`` for each axis.
        threshold: Value of the noise above which a pixel belongs to the mask.
        rectangles: Largest number of rectangles in a rectangular mask. There is at least one.
        side: Smallest and largest side of a rectangle, as a share of the image's side.
    """

    octaves: int
    threshold: float
    rectangles: int
    side: tuple[float, float]


STRUCTURAL_STYLE = MaskStyle(octaves=4, threshold=0.5, rectangles=4, side=(0.02, 0.30))
LOGICAL_STYLE = MaskStyle(octaves=3, threshold=0.4, rectangles=2, side=(0.15, 0.50))


def perlin_masks(
    styles: Sequence[MaskStyle],
    size: Sequence[int],
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw masks from Perlin noise that is rotated by -90 to 90 degrees and thresholded.

    Args:
        styles: Style of each mask.
        size: Height and width of the masks.
        generator: Source of the lattices, gradients and angles.
        device: Device of the masks.

    Returns:
        Boolean masks ``(N, 1, H, W)``. About one in ten is empty or almost empty.
    """
    octaves = torch.tensor([style.octaves for style in styles])
    exponents = (uniform((len(styles), 2), generator=generator) * octaves[:, None]).long()
    noise = perlin_noise(size, 2**exponents, generator, device)
    degrees = uniform((len(styles),), -90, 90, generator)
    thresholds = [style.threshold for style in styles]
    if noise.device.type != "cpu":
        return rotate(noise, degrees) > torch.tensor(thresholds, device=device)[:, None, None, None]
    # One plane at a time, thresholded while it is in the CPU cache.
    masks, turned = np.empty(noise.shape, bool), np.empty(noise.shape[-2:], np.float32)
    for (plane,), (mask,), linear, threshold in zip(
        noise.numpy(), masks, rotations(degrees).tolist(), thresholds, strict=True
    ):
        np.greater(warp_plane(plane, linear, turned), threshold, out=mask)
    return torch.from_numpy(masks)


def rectangle_masks(
    styles: Sequence[MaskStyle],
    size: Sequence[int],
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw masks as unions of random rectangles inside the image, never empty; see ``perlin_masks``."""
    most = torch.tensor([style.rectangles for style in styles])
    low, high = torch.tensor([style.side for style in styles]).T[..., None, None]  # (N, 1, 1) each
    slots = int(most.max())
    number = 1 + (uniform((len(styles),), generator=generator) * most).long()
    used = torch.arange(slots) < number[:, None]  # (N, slots)
    shape = torch.tensor(list(size))
    sides = (torch.lerp(low, high, uniform((len(styles), slots, 2), generator=generator)) * shape).round().clamp(min=1)
    start = (uniform((len(styles), slots, 2), generator=generator) * (shape - sides + 1)).floor()
    spans = []
    for axis, length in enumerate(size):
        position = torch.arange(length)
        first, last = start[..., axis, None], (start + sides)[..., axis, None]
        spans.append(((position >= first) & (position < last)).float().to(device))  # (N, slots, length)
    rows = spans[0] * used[..., None].to(spans[0])
    return (rows.transpose(1, 2) @ spans[1] > 0).unsqueeze(1)


def areas(masks: Tensor) -> Tensor:
    """Count the pixels of each boolean mask ``(N, 1, H, W)`` and return them ``(N,)`` on the CPU."""
    return torch.tensor([np.count_nonzero(mask) for mask in masks.cpu().numpy()])


def pixel_numbers(masks: Tensor) -> list[Tensor]:
    """Flat indices ``(P,)`` of the pixels of each boolean mask ``(N, 1, H, W)``; ``P`` differs between masks."""
    return moved_together([torch.from_numpy(np.flatnonzero(mask)) for mask in masks.cpu().numpy()], masks.device)


def place_masks(draw: Callable[[Tensor], Tensor], foreground: Tensor, minimum: float) -> Tensor:
    """Draw masks until each covers enough of its object, at most 20 times.

    If no mask covers enough of the object, for example because the object is tiny, the image gets a mask that ignores
    the object.

    Args:
        draw: Function that draws boolean masks ``(K, 1, H, W)`` for images of given indices ``(K,)``.
        foreground: Boolean masks of the objects ``(N, 1, H, W)``.
        minimum: Smallest number of pixels of a mask.

    Returns:
        Masks ``(N, 1, H, W)`` with at least ``minimum`` pixels, on the object unless that failed.
    """
    masks = draw(torch.arange(len(foreground))) & foreground
    for attempt in range(1, 2 * ATTEMPTS):
        pending = (areas(masks) < minimum).nonzero()[:, 0]
        if len(pending) == 0:
            return masks
        drawn = draw(pending)
        masks[pending] = drawn & foreground[pending] if attempt < ATTEMPTS else drawn
    # Never observed. The middle of the image guarantees the minimum.
    height, width = foreground.shape[-2:]
    masks[pending, :, height // 3 : -(height // 3), width // 3 : -(width // 3)] = True
    return masks


@dataclass(frozen=True)
class MaskRule:
    """Rule that changes some of the masks.

    Attributes:
        probability: Probability that a mask is changed.
        change: Function of masks and sources ``(N, 3, H, W)`` that returns new boolean masks ``(N, 1, H, W)``.
        logical_only: Whether only masks of logical anomalies are changed.
    """

    probability: float
    change: Callable[[Tensor, Tensor], Tensor]
    logical_only: bool = False


def add_square(masks: Tensor, sources: Tensor, first: int, last: int) -> Tensor:  # noqa: ARG001
    """Add a square from row and column ``first`` to ``last`` to masks, in pixels of an image of 256 x 256."""
    height, width = masks.shape[-2:]
    rows, columns = (slice(round(first * size / 256), round((last + 1) * size / 256)) for size in (height, width))
    masks = masks.clone()
    masks[..., rows, columns] = True
    return masks


def keep_object(masks: Tensor, sources: Tensor, rule: BrightObject) -> Tensor:
    """Limit masks to the object in the sources."""
    return masks & rule(sources)


def only_object(masks: Tensor, sources: Tensor, rule: BrightObject) -> Tensor:  # noqa: ARG001
    """Replace masks by the object in the sources."""
    return rule(sources)


def apply_rule(
    rule: MaskRule,
    masks: Tensor,
    sources: Sequence[Tensor],
    logical: Tensor,
    foreground: Tensor,
    minimum: float,
    generator: torch.Generator | None = None,
) -> None:
    """Change some masks by a rule, in place. Masks that would get too few pixels on the foreground are not changed.

    Args:
        rule: Rule to apply.
        masks: Boolean masks ``(N, 1, H, W)``.
        sources: Source image ``(3, H, W)`` that each anomaly is painted from.
        logical: True for logical anomalies ``(N,)``, on the CPU.
        foreground: Boolean masks of the pixels where masks may be ``(N, 1, H, W)``.
        minimum: Smallest number of pixels of a mask.
        generator: Source of the choice of masks.
    """
    chosen = chance(len(masks), rule.probability, generator)
    which = (chosen & logical if rule.logical_only else chosen).nonzero()[:, 0].tolist()
    if which:
        changed = rule.change(masks[which], torch.stack([sources[number] for number in which])) & foreground[which]
        enough = (areas(changed) >= minimum).to(masks.device)
        masks[which] = torch.where(enough[:, None, None, None], changed, masks[which])
