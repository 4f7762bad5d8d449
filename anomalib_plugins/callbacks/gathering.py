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
        """Let go of all of them."""
        self.images, self.paths = torch.empty(0), list[str]()
        self.waiting = torch.empty(0, 2, dtype=torch.long)  # image and version of each, in their order

    def __len__(self) -> int:
        return len(self.waiting)

    def add(
        self, images: Tensor, paths: Sequence[str], versions: int, repeats: int, generator: torch.Generator
    ) -> None:
        """Let the examples of more images wait.

        Args:
            images: ``(N, C, H, W)``.
            paths: Their files ``(N,)``, or none.
            versions: How many examples each image has; their order is random.
            repeats: How often all of them wait.
            generator: Draws the order.
        """
        first = len(self.images)
        self.images = torch.cat([self.images.to(images), images]) if first else images
        self.paths += paths
        for _ in range(repeats):
            order = torch.arange(len(images))
            if versions > 1:
                order = torch.randperm(len(images) * versions, generator=generator)
            self.waiting = torch.cat([self.waiting, torch.stack([first + order // versions, order % versions], dim=1)])

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """Take the first examples that wait.

        Args:
            count: How many; n.

        Returns:
            Numbers of their images and of their versions, both ``(n,)``.
        """
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken[:, 0], taken[:, 1]

    def prune(self) -> None:
        """Let go of the images none of whose examples wait."""
        used, numbers = torch.unique(self.waiting[:, 0], return_inverse=True)
        self.images = self.images[used]
        self.paths = [self.paths[number] for number in used.tolist()] if self.paths else []
        self.waiting = torch.stack([numbers, self.waiting[:, 1]], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """What waits, nothing at the end of an epoch."""
        return {"images": self.images, "paths": self.paths, "waiting": self.waiting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self.images, self.paths, self.waiting = state["images"], list(state["paths"]), state["waiting"]
