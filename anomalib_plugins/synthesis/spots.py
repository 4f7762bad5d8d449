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
        row: Its row ``(P,)``.
        column: Its column ``(P,)``.
        shape: Shape of the masks ``(N, 1, H, W)``.
    """

    owner: Tensor
    row: Tensor
    column: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, masks: Tensor) -> "Spots":
        """The spots of masks ``(N, 1, H, W)``."""
        return cls(*masks[:, 0].nonzero(as_tuple=True), masks.shape)

    def read(self, images: Tensor) -> Tensor:
        """Values ``(P, C)`` of images ``(N, C, H, W)`` at the spots."""
        return images[self.owner, :, self.row, self.column]

    def write(self, images: Tensor, values: Tensor) -> Tensor:
        """A copy of images ``(N, C, H, W)`` with ``values`` ``(P, C)`` at the spots."""
        images = images.clone()
        images[self.owner, :, self.row, self.column] = values
        return images

    def mask(self, values: Tensor) -> Tensor:
        """Masks ``(N, 1, H, W)`` with ``values`` ``(P,)`` at the spots, of their type, and 0 elsewhere."""
        return self.write(values.new_zeros(self.shape), values[:, None])

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
        place = (chosen.cumsum(0) - 1).to(values.device)  # of each image among the chosen ones
        chosen = chosen.to(values.device)
        here = chosen[self.owner].nonzero()[:, 0]
        images = make(chosen.nonzero()[:, 0])
        picked = images[place[self.owner[here]], :, self.row[here], self.column[here]]
        values[here] = picked if picked.is_floating_point() else picked.to(values.dtype) / 255
