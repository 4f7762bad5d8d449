# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Fine-tuning of a pretrained backbone by a pretext, near its ImageNet weights."""

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.checks import check_choice, check_share
from anomalib_plugins.errors import UserError

BatchNorm = Literal["eval", "train"]


class FineTuning:
    """Settings of a pretext's fine-tuning, and the backbone it started from.

    Args:
        learning_rate: Learning rate of the backbone.
        head_learning_rate: Learning rate of the head; ``None`` is that of the backbone.
        warmup: Share of the pretext in which only the head learns, in ``[0, 1)``.
        batch_norm: ``"eval"`` keeps the statistics of the backbone's normalisation layers, ``"train"`` replaces them
            by those of the pretext's images.
        interpolation: Share of the tuned weights in those that are kept, above 0 and at most 1; the rest are those of
            the start (WiSE-FT, Wortsman et al., 2022).

    Attributes:
        pending: Whether the backbone has learned and is not yet interpolated.

    Raises:
        ValueError: If an option is outside its range.
    """

    def __init__(
        self,
        learning_rate: float,
        head_learning_rate: float | None = None,
        warmup: float = 0.0,
        batch_norm: BatchNorm = "eval",
        interpolation: float = 1.0,
    ) -> None:
        head_learning_rate = learning_rate if head_learning_rate is None else head_learning_rate
        if not learning_rate > 0 or not head_learning_rate > 0:
            msg = f"learning rates of backbone and head must be above 0, got {learning_rate} and {head_learning_rate}"
            raise UserError(msg)
        if not 0 <= warmup < 1:
            msg = f"warmup must be in [0, 1), a share of the pretext's steps, got {warmup}"
            raise UserError(msg)
        check_choice("backbone_bn", batch_norm, BatchNorm)
        check_share("weight_interpolation", interpolation, above_zero=True)
        self.learning_rate, self.head_learning_rate = learning_rate, head_learning_rate
        self.warmup, self.batch_norm, self.interpolation = warmup, batch_norm, interpolation
        self.pending = False
        self._start: Backbone | None = None
        self._resumed: dict[str, Tensor] | None = None  # what a checkpoint says the start was

    def begin(self, backbone: Backbone) -> None:
        """Remember the weights that training begins with, or began with if they wait for their interpolation.

        A run that was over, and is trained on, begins with what it ended with.

        Args:
            backbone: The network before the first step of this run.

        Raises:
            ValueError: If gradients would pass through stages that its weights file lacks.
        """
        backbone.refuse_random()
        start, self._resumed = self._resumed, None
        self.pending = start is not None
        self._start = copy.deepcopy(backbone).eval().requires_grad_(requires_grad=False)
        if start is not None:
            self._start.network.load_state_dict(start)

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to continue: whether the backbone is still to be interpolated, and with what."""
        start = None if self._start is None or not self.pending else self._start.network.state_dict()
        return {"pending": self.pending, "start": start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self._resumed = state["start"]

    def groups(self, backbone: Iterable[nn.Parameter], head: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
        """Parameter groups of an optimizer; ``lr_scale`` is a group's learning rate over the backbone's."""
        scale = self.head_learning_rate / self.learning_rate
        return [{"params": list(backbone), "lr_scale": 1.0}, {"params": list(head), "lr_scale": scale}]

    @torch.no_grad()
    def similarity(self, backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
        """Mean cosine, by layer, of the features of images ``(N, 3, H, W)`` and those of the start: 1 at first."""
        if self._start is None:
            return {}
        was_training = backbone.training
        now, start = backbone.eval().features(images), self._start.features(images)
        backbone.train(was_training)
        return {
            layer: F.cosine_similarity(new.float(), old.float(), dim=1).mean()
            for layer, new, old in zip(backbone.layers, now, start, strict=True)
        }

    @torch.no_grad()
    def finish(self, backbone: Backbone) -> None:
        """Interpolate start and tuned weights once, and free the start's memory."""
        if self.pending and self._start is not None:
            start = self._start.network.state_dict()
            for name, each in backbone.network.state_dict().items():
                if each.is_floating_point():
                    each.copy_(torch.lerp(start[name].to(each.device), each, self.interpolation))
        self.pending, self._start = False, None
