# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap's classification task: is an image unchanged, or were two of its patches or scars swapped?"""

from typing import Any, Literal

import torch
from torch import Tensor

from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.synthesis import NORMAL, AnomalyGenerator, CutPaste, CutSwap, SyntheticBatch, colour_jitter

Augmentation = Literal["cutswap", "cutpaste", "none"]
TaskMode = Literal["3way", "binary"]
MAKERS = {"cutswap": CutSwap, "cutpaste": CutPaste}


class CutSwapTask:
    """Makes labelled images of normal ones: unchanged (0), with swapped patches (1), with swapped scars (2).

    The colours of each image are changed a little first, in the same way for its three versions.

    Args:
        augmentation: ``"cutswap"`` swaps two patches, ``"cutpaste"`` copies one over another.
        mode: ``"binary"`` leaves the scars out.
        options: Further arguments of :class:`CutSwap` or :class:`CutPaste`.

    Raises:
        ValueError: If ``augmentation`` or ``mode`` is unknown.
    """

    def __init__(
        self,
        augmentation: Literal["cutswap", "cutpaste"] = "cutswap",
        mode: TaskMode = "3way",
        options: dict[str, Any] | None = None,
    ) -> None:
        check_choice("augmentation", augmentation, MAKERS)
        check_choice("mode", mode, TaskMode)
        shapes = ("patch", "scar") if mode == "3way" else ("patch",)
        self.makers: list[AnomalyGenerator] = [MAKERS[augmentation](shape, **(options or {})) for shape in shapes]

    @property
    def has_anchors(self) -> bool:
        """Whether patches can be anchored at given pixels."""
        return isinstance(self.makers[0], CutSwap)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return 1 + len(self.makers)

    def __call__(
        self, images: Tensor, generator: torch.Generator | None = None, candidates: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Make all versions of every image.

        Args:
            images: Normal RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
            generator: Source of all randomness.
            candidates: Pixels where patches may be anchored, boolean ``(N, H, W)``; all by default.

        Returns:
            Images ``(K * N, 3, H, W)``, one version after the other, and their classes ``(K * N,)``. Images that a swap
            did not change, such as blank ones, are of class 0.
        """
        positive = colour_jitter(images, generator, contrast=0.1, hue=0.1)
        made = [make(maker, positive, generator, candidates) for maker in self.makers]
        classes = [torch.where(each.kind == NORMAL, 0, number) for number, each in enumerate(made, start=1)]
        return (
            torch.cat([positive, *(each.image for each in made)]),
            torch.cat([torch.zeros_like(classes[0]), *classes]),
        )

    def preview(
        self, images: Tensor, generator: torch.Generator | None = None, candidates: Tensor | None = None
    ) -> SyntheticBatch:
        """Make one anomaly in each image, the classes in turn, see ``__call__``."""
        made = [make(maker, images, generator, candidates) for maker in self.makers]
        rows = [[field[number] for field in made[number % len(made)]] for number in range(len(images))]
        return SyntheticBatch(*map(torch.stack, zip(*rows, strict=True)))


def make(
    maker: AnomalyGenerator, images: Tensor, generator: torch.Generator | None, candidates: Tensor | None
) -> SyntheticBatch:
    """Make anomalies with one of the task's makers."""
    if isinstance(maker, CutSwap):
        return maker(images, generator, candidates=candidates)
    return maker(images, generator)
