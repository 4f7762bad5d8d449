# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap, which swaps two patches of an image, and CutPaste, which copies one over another place."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import AnomalyGenerator, SyntheticBatch, check_images, integers, uniform
from anomalib_plugins.synthesis.masks import ATTEMPTS, pixel_numbers
from anomalib_plugins.synthesis.patches import (
    AREA,
    PatchShape,
    margins,
    move,
    paste,
    patch_shapes,
    scar_shapes,
)

SCAR_DEGREES = 45.0

Overlap = Literal["prefer_disjoint", "allow", "require_disjoint"]


class PatchGenerator(AnomalyGenerator):
    """Base class of generators that move patches within an image.

    Args:
        mode: Shape of the patches, ``"patch"`` or ``"scar"``.
        patch_jitter: Range of changes of a patch's brightness, contrast, saturation and hue, in ``[0, 0.5]``.
    """

    def __init__(self, mode: PatchShape, patch_jitter: float) -> None:
        check_choice("mode", mode, PatchShape)
        if not 0 <= patch_jitter <= 0.5:
            msg = f"patch_jitter must be in [0, 0.5], got {patch_jitter}"
            raise UserError(msg)
        self.mode, self.patch_jitter = mode, patch_jitter

    def draw_shapes(
        self, count: int, size: Sequence[int], angles: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Draw heights and widths of patches ``(count, 2)`` and degrees of rotation ``(count, angles)``."""
        if self.mode == "scar":
            shapes = scar_shapes(count, size, generator)
            return shapes, uniform((count, angles), -SCAR_DEGREES, SCAR_DEGREES, generator)
        return patch_shapes(count, size, AREA, generator), torch.zeros(count, angles)


class CutSwap(PatchGenerator):
    """Swaps two patches of the same size (Qin et al., 2024).

    The patches' upper left corners are drawn from given pixels, the most salient ones in the paper, or from the whole
    image, as in the paper's ablation with one cluster. A patch that would leave the image is shifted inside.

    The mask marks the pixels whose colour changed. If none changed, the kind is normal.

    Args:
        mode: Shape of the patches. ``"patch"``: rectangles of 2 to 15 % of the image, 0.3 to 3.3 times as wide as
            high. ``"scar"``: thin rectangles rotated by up to 45 degrees, 10 to 25 pixels high and at most half as wide
            in images of 256 x 256 and scaled with others.
        overlap: Whether the patches may overlap. ``"prefer_disjoint"``: the pair with the smallest overlap of 20 draws.
            ``"allow"``: the first pair. ``"require_disjoint"``: patches of half the area each time, until 20 draws have
            a pair without overlap. The second of two overlapping patches lies on top.
        patch_jitter: Range of random changes of each patch's brightness, contrast, saturation and hue, in
            ``[0, 0.5]``.

    Raises:
        ValueError: If an option is unknown or out of range.

    Example:
        >>> images = torch.rand(4, 3, 64, 64)
        >>> batch = CutSwap()(images, torch.Generator().manual_seed(0))
        >>> bool(((batch.image != images).any(dim=1, keepdim=True) == batch.mask.bool()).all())
        True
    """

    def __init__(
        self,
        mode: PatchShape = "patch",
        overlap: Overlap = "prefer_disjoint",
        patch_jitter: float = 0.0,
    ) -> None:
        super().__init__(mode, patch_jitter)
        check_choice("overlap", overlap, Overlap)
        self.overlap = overlap

    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator | None = None,
        pool: Tensor | None = None,
        candidates: Tensor | None = None,
    ) -> SyntheticBatch:
        """Swap two patches of every image, see ``AnomalyGenerator``.

        Args:
            images: Normal RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
            generator: Source of all randomness.
            pool: Not used: both patches are the image's own.
            candidates: Where the patches' upper left corners may be, boolean ``(N, H, W)``. An image with fewer than
                two such pixels uses all. Default: all pixels.

        Returns:
            The images with masks and kinds.

        Raises:
            ValueError: If the images or the candidates do not have these shapes, or the candidates are not boolean.
        """
        check_images(images, pool)
        if candidates is not None and (
            candidates.dtype != torch.bool or candidates.shape != (len(images), *images.shape[-2:])
        ):
            wanted = (len(images), *images.shape[-2:])
            msg = f"expected boolean candidates {wanted}, got {candidates.dtype} {tuple(candidates.shape)}"
            raise UserError(msg)
        with torch.autocast(images.device.type, enabled=False):
            return self.simulate(images, images, generator, candidates)

    def simulate(
        self, images: Tensor, pool: Tensor, generator: torch.Generator | None, candidates: Tensor | None = None
    ) -> SyntheticBatch:
        """Swap two patches of every image; ``pool`` is not used."""
        del pool
        size = images.shape[-2:]
        shapes, corners, degrees = self.places(len(images), size, generator, candidates)
        moves = [
            [move(second, first, shape, angles[0], size), move(first, second, shape, angles[1], size)]
            for shape, (first, second), angles in zip(shapes.tolist(), corners.tolist(), degrees.tolist(), strict=True)
        ]
        return paste(images, moves, self.patch_jitter, generator)

    def places(
        self,
        count: int,
        size: torch.Size,
        generator: torch.Generator | None = None,
        candidates: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the patches to swap in ``count`` images.

        Returns:
            Height and width of both patches of each image ``(N, 2)``; their upper left corners, (row, column)
            ``(N, 2, 2)``; the angles of what is pasted at the first and at the second ``(N, 2)``, in degrees.
        """
        shapes, degrees = self.draw_shapes(count, size, 2, generator)
        pixels = [torch.arange(size[0] * size[1])] * count if candidates is None else _anchors(candidates)
        corners = torch.empty(count, 2, 2, dtype=torch.long)
        pending = torch.arange(count)
        while len(pending):
            reach = margins(shapes, degrees)
            drawn = _draw_corners(
                [pixels[each] for each in pending], size, 1 if self.overlap == "allow" else ATTEMPTS, generator
            )
            drawn = _shift_inside(drawn, shapes[pending], reach[pending], size)
            common = _overlap(drawn, (shapes + 2 * reach)[pending])  # (n, attempts)
            best = common.argmin(dim=1)
            corners[pending] = drawn[torch.arange(len(pending)), best]
            if self.overlap != "require_disjoint":
                break
            pending = pending[common.amin(dim=1) > 0]
            shapes[pending] = (shapes[pending] / 2**0.5).long().clamp(min=1)
        return shapes, corners, degrees


def _anchors(candidates: Tensor) -> list[Tensor]:
    """Numbers of the pixels of each mask ``(N, H, W)`` on the CPU, or of all pixels where a mask has fewer than two."""
    everywhere = torch.arange(candidates[0].numel())
    return [each if len(each) > 1 else everywhere for each in pixel_numbers(candidates[:, None].cpu())]


def _draw_corners(pixels: list[Tensor], size: torch.Size, attempts: int, generator: torch.Generator | None) -> Tensor:
    """Pairs of different pixels of each image's list, all pairs equally likely: ``(N, attempts, 2, 2)``."""
    number = torch.tensor([len(each) for each in pixels])[:, None]
    lots = integers((len(pixels), attempts, 2), 0, 2**62, generator)
    first = lots[..., 0] % number
    second = (first + 1 + lots[..., 1] % (number - 1)) % number
    chosen = torch.stack((first, second), dim=2)
    drawn = torch.stack([each[which] for each, which in zip(pixels, chosen, strict=True)])
    return torch.stack((drawn // size[1], drawn % size[1]), dim=3)


def _shift_inside(corners: Tensor, shapes: Tensor, reach: Tensor, size: torch.Size) -> Tensor:
    """Corners ``(N, A, 2, 2)`` moved so that rectangles of ``shapes`` and ``reach`` ``(N, 2)`` lie in the image."""
    low, high = reach[:, None, None], (torch.tensor(list(size)) - shapes - reach)[:, None, None]
    return corners.maximum(low).minimum(high)


def _overlap(corners: Tensor, shapes: Tensor) -> Tensor:
    """Pixels in common ``(N, A)`` of pairs of rectangles of ``shapes`` ``(N, 2)`` at corners ``(N, A, 2, 2)``."""
    apart = (corners[:, :, 0] - corners[:, :, 1]).abs()
    return (shapes[:, None] - apart).clamp(min=0).prod(dim=2)


class CutPaste(PatchGenerator):
    """Pastes a patch from anywhere in the image to anywhere else in it (Li et al., 2021).

    The mask marks the pixels whose colour changed. If none changed, the kind is normal.

    Args:
        mode: Shape of the patch. ``"patch"`` is a rectangle of 2 to 15 % of the image, 0.3 to 3.3 times as wide as
            high. ``"scar"`` is a thin rectangle rotated by up to 45 degrees, 10 to 25 pixels high and at most half
            as wide in images of 256 x 256 and scaled with others.
        patch_jitter: Range of random changes of the patch's brightness, contrast, saturation and hue, in ``[0, 0.5]``.

    Raises:
        ValueError: If ``mode`` is unknown or ``patch_jitter`` is out of range.
    """

    def __init__(self, mode: PatchShape = "patch", patch_jitter: float = 0.1) -> None:
        super().__init__(mode, patch_jitter)

    def simulate(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> SyntheticBatch:
        """Paste one patch in every image; ``pool`` is not used."""
        del pool
        count, size = len(images), images.shape[-2:]
        shapes, degrees = self.draw_shapes(count, size, 1, generator)
        reach = margins(shapes, degrees)
        room = torch.tensor(list(size)) - shapes - 2 * reach + 1
        corners = (reach + (uniform((2, count, 2), 0, 1, generator) * room).long()).minimum(reach + room - 1)
        moves = [
            [move(source, target, shape, angle, size)]
            for source, target, shape, angle in zip(
                *corners.tolist(), shapes.tolist(), degrees[:, 0].tolist(), strict=True
            )
        ]
        return paste(images, moves, self.patch_jitter, generator)
