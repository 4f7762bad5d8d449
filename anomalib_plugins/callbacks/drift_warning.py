# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Remembers how good parts score, and warns when that has changed."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from anomalib_plugins.components.drift import Drift, DriftMonitor, refuse_monitor_options
from anomalib_plugins.components.normal_scores import NormalScores
from anomalib_plugins.components.thresholds import raw_threshold


class DriftWarning(Callback):
    """Warns, once a run, when the scores of parts that a model takes for good have moved since validation.

    Validation leaves the scores of its good images in the checkpoint, as the model gave them; `anomalib predict` then
    compares each ``window`` of images called normal with them, and what is left at the end: light that has changed, a
    lens out of focus or a new batch of material can show there before they become false alarms or missed defects. It
    warns too when a whole window in a row is called defects.

    An exported model is watched by `anomalib_plugins.components.drift.DriftMonitor`, with the file that
    ``python -m anomalib_plugins threshold CKPT --scores FILE`` writes.

    With several devices, those of the first one are remembered and watched.

    Args:
        window: Images called normal to a comparison.
        false_warnings: Probability that a window in which nothing has moved is warned about.

    Raises:
        ValueError: If ``window`` is below 2, or ``false_warnings`` outside ``(0, 1)``.
    """

    def __init__(self, window: int = 32, false_warnings: float = 0.001) -> None:
        refuse_monitor_options(window, false_warnings)
        self.window = window
        self.false_warnings = false_warnings
        self.scores: Tensor | None = None  # (N,) of the good images of the last validation
        self._validation: dict[Any, float] = {}  # scores by path
        self._monitor: DriftMonitor | None = None

    def state_dict(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        return {"scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was in a checkpoint."""
        self.scores = state_dict["scores"]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew: the weights have changed."""
        del trainer, pl_module
        self._validation = {}

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *numbers: int) -> None:
        """Collect the scores of good images, of each file once: simulated validation sets repeat photos."""
        del trainer, pl_module, numbers
        scores, labels = getattr(outputs, "pred_score", None), getattr(outputs, "gt_label", None)
        if scores is None or labels is None:
            return
        paths = getattr(batch, "image_path", None) or [object() for _ in scores]  # each is another
        each = zip(paths, scores.detach().flatten().tolist(), labels.flatten().tolist(), strict=True)
        self._validation |= {path: score for path, score, label in each if not label}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember them."""
        del pl_module
        scores = torch.tensor(list(self._validation.values()), dtype=torch.float32)
        if not trainer.sanity_checking and len(scores):
            self.scores = scores[scores.isfinite()]

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch, if the checkpoint tells how good images score."""
        del trainer
        self._monitor = None
        threshold = raw_threshold(getattr(pl_module, "post_processor", None))
        if self.scores is not None and (self.scores < threshold).any():
            normal = NormalScores(self.scores.numpy(), threshold)
            self._monitor = DriftMonitor(normal, self.window, self.false_warnings)

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *numbers: int) -> None:
        """Watch the scores, which are the model's still: this callback stands before the post-processor."""
        del trainer, pl_module, batch, numbers
        scores = getattr(outputs, "pred_score", None)
        if self._monitor is not None and scores is not None:
            self._warn(self._monitor.update(scores.detach().float().cpu().numpy()))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what is left."""
        del trainer, pl_module
        if self._monitor is not None:
            self._warn(self._monitor.finish())

    def _warn(self, drift: Drift | None) -> None:
        if drift is not None:
            self._monitor = None
            rank_zero_warn(f"{drift}.")
