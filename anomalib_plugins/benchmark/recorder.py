# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Callbacks that watch a job from within its training and test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from anomalib_plugins.benchmark.predictions import Predictions, shrink_maps, shrink_masks


class BatchCounter(Callback):
    """Counts training batches and says how far the job is.

    ``trainer.global_step`` counts optimizer steps instead, of which a GAN makes two a batch.

    Args:
        report: Is told in a few words, after every batch.
    """

    def __init__(self, report: Callable[[str], None] | None = None) -> None:
        self.count = 0
        self._report = report or (lambda _: None)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Count one batch."""
        del args, kwargs
        self.count += 1
        self._report(f"training, epoch {trainer.current_epoch + 1}, batch {self.count}")

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Say that training is over."""
        del trainer, args, kwargs
        self._report("testing")


class Recorder(Callback):
    """Keeps what a model says about each test image; stands in front of the post-processor, which would change it."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Keep one batch, on the CPU and with small maps."""
        del trainer, pl_module, outputs
        maps, scores = batch.anomaly_map, batch.pred_score
        if scores is None:  # the post-processor would take the largest of the map
            scores = maps.flatten(1).amax(dim=1)
        # Padim's scores are a column.
        part = {"scores": scores.float().flatten(), "labels": batch.gt_label.bool()}
        if maps is not None:
            part["maps"] = shrink_maps(maps.reshape(len(scores), *maps.shape[-2:]))
        if batch.gt_mask is not None:
            part["masks"] = shrink_masks(batch.gt_mask.reshape(len(scores), *batch.gt_mask.shape[-2:]))
        for name, value in part.items():
            self._parts.setdefault(name, []).append(value.detach().cpu().numpy())
        self._parts.setdefault("paths", []).append(np.array([str(Path(path).absolute()) for path in batch.image_path]))

    def predictions(self) -> Predictions:
        """Everything since the construction."""
        return Predictions(**{name: np.concatenate(parts) for name, parts in self._parts.items()})
