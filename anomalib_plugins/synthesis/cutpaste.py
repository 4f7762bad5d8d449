# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutPaste: a patch of the image pasted elsewhere in it."""

import torch
from torch import Tensor

from anomalib_plugins.synthesis.base import AnomalyGenerator, SyntheticBatch
from anomalib_plugins.synthesis.draws import uniform
from anomalib_plugins.synthesis.patches import (
    AREA,
    SCAR_DEGREES,
    Mode,
    check_patches,
    margins,
    move,
    paste,
    patch_shapes,
    scar_shapes,
)


class CutPaste(AnomalyGenerator):
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

    def __init__(self, mode: Mode = "patch", patch_jitter: float = 0.1) -> None:
        check_patches(mode, patch_jitter)
        self.mode, self.patch_jitter = mode, patch_jitter

    def simulate(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> SyntheticBatch:
        """Paste one patch in every image; ``pool`` is not used."""
        del pool
        count, size = len(images), images.shape[-2:]
        if self.mode == "scar":
            shapes = scar_shapes(count, size, generator)
            degrees = uniform((count, 1), -SCAR_DEGREES, SCAR_DEGREES, generator)
        else:
            shapes, degrees = patch_shapes(count, size, AREA, generator), torch.zeros(count, 1)
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
