# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The masked pixels of a batch as one list: an anomaly touches few pixels, so only those are worth computing."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Spots(NamedTuple):
    """Where the masks of a batch are 1.

    Attributes:
        owner: Image that each of the ``P`` pixels belongs to ``(P,)``.
        place: Its place in the image, row by row ``(P,)``.
        shape: Shape of the masks ``(N, 1, H, W)``.
    """

    owner: Tensor
    place: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, masks: Tensor) -> "Spots":
        """The spots of masks ``(N, 1, H, W)``."""
        index = masks.flatten().nonzero()[:, 0]
        pixels = masks[0].numel()
        owner = index // pixels
        return cls(owner, index - owner * pixels, masks.shape)

    def read(self, images: Tensor) -> Tensor:
        """Values ``(P, C)`` of images ``(N, C, H, W)`` at the spots."""
        return images.flatten(2)[self.owner, :, self.place]

    def write(self, images: Tensor, values: Tensor) -> Tensor:
        """A copy of images ``(N, C, H, W)`` with ``values`` ``(P, C)`` at the spots."""
        flat = images.flatten(2).clone()
        flat[self.owner, :, self.place] = values
        return flat.view(images.shape)

    def erase(self, masks: Tensor, chosen: Tensor) -> None:
        """Set the ``chosen`` ``(P,)`` spots of masks ``(N, 1, H, W)`` to 0, in place."""
        masks.flatten(1)[self.owner[chosen], self.place[chosen]] = 0

    def count(self, chosen: Tensor) -> Tensor:
        """How many of the ``chosen`` ``(P,)`` spots each image has ``(N,)``."""
        return torch.bincount(self.owner[chosen], minlength=self.shape[0])

    def paint(self, values: Tensor, chosen: Tensor, make: Callable[[Tensor], Tensor]) -> None:
        """Set ``values`` ``(P, C)`` of the spots of some images, in place.

        Args:
            values: Values of all spots; those of the chosen images change.
            chosen: Which images ``(N,)``, on the CPU.
            make: Gives, for the indices ``(K,)`` of the chosen images, the images ``(K, C, H, W)`` to read the values
                from. Eight-bit ones are divided by 255, only where they are read.
        """
        if not chosen.any():
            return
        rank = (chosen.cumsum(0) - 1).to(values.device)  # of each image among the chosen ones
        chosen = chosen.to(values.device)
        here = chosen[self.owner].nonzero()[:, 0]
        images = make(chosen.nonzero()[:, 0])
        picked = images.flatten(2)[rank[self.owner[here]], :, self.place[here]]
        values[here] = picked if picked.is_floating_point() else picked.to(values.dtype) / 255
