# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Examples gathered from a loader's batches until an optimizer step has enough of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Gathering:
    """Images at hand, and which of their examples wait for a step.

    An example is an image and the number of one of the versions that a phase makes of it.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self.images, self.paths = torch.empty(0), list[str]()
        self.waiting = torch.empty(0, 2, dtype=torch.long)  # image and version of each, in their order

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, images: Tensor, paths: Sequence[str], versions: int, generator: torch.Generator) -> None:
        """Add images, whose examples wait for a step.

        Args:
            images: ``(N, C, H, W)``.
            paths: Files of the images ``(N,)``, or none.
            versions: Number of examples of each image; their order is random.
            generator: Generator of the order.
        """
        if len(self.images) and self.images.shape[1:] != images.shape[1:]:
            self.clear()  # images of another size share no step
        first = len(self.images)
        self.images = torch.cat([self.images.to(images), images]) if first else images
        self.paths += paths
        order = torch.arange(len(images))
        if versions > 1:
            order = torch.randperm(len(images) * versions, generator=generator)
        self.waiting = torch.cat([self.waiting, torch.stack([first + order // versions, order % versions], dim=1)])

    def repeat(self, times: int) -> None:
        """Repeat what waits, one pass after another; 1 changes nothing."""
        self.waiting = self.waiting.repeat(times, 1)

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """Take the first ``count`` examples; returns the numbers of their images and of their versions."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken[:, 0], taken[:, 1]

    def prune(self) -> None:
        """Drop the images before the first one of which an example waits."""
        first = int(self.waiting[:, 0].min()) if len(self) else len(self.images)
        self.images, self.paths = self.images[first:].clone(), self.paths[first:]
        self.waiting = self.waiting - torch.tensor([first, 0])

    def state_dict(self) -> dict[str, Any]:
        """What waits for a step; nothing at the end of an epoch."""
        return {"images": self.images, "paths": self.paths, "waiting": self.waiting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self.images, self.paths, self.waiting = state["images"], list(state["paths"]), state["waiting"]


def rows(images: Tensor, numbers: Tensor) -> Tensor:
    """Images by their numbers; slices where these follow each other, which spares a GPU their upload.

    Args:
        images: ``(N, C, H, W)``.
        numbers: ``(n,)``, on the CPU.
    """
    runs = numbers.tensor_split((numbers.diff() != 1).nonzero()[:, 0] + 1)
    if len(runs) > 2:
        return images[numbers.to(images.device)]
    return torch.cat([images[int(run[0]) : int(run[-1]) + 1] if len(run) else images[:0] for run in runs])
