# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Says what came of a prediction, which anomalib ends without a word."""

from typing import Any

from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info


class PredictionSummary(Callback):
    """Logs how many images were judged anomalous, and where their heatmaps are.

    Stands after the post-processor, which gives the labels, and the visualizer, which chooses the folder. Of several
    devices, the first one's images count.
    """

    def __init__(self) -> None:
        self._labels: list[bool] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        del trainer, pl_module
        self._labels = []

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *numbers: int) -> None:
        """Count; a model without a threshold gives no labels."""
        del trainer, pl_module, batch, numbers
        labels = getattr(outputs, "pred_label", None)
        if labels is not None:
            self._labels += labels.flatten().bool().tolist()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it."""
        del pl_module
        folders = [each.output_dir for each in trainer.callbacks if isinstance(each, ImageVisualizer)]
        where = f" Heatmaps: {folders[0]}" if folders else ""
        if self._labels:
            rank_zero_info(f"{sum(self._labels)} of {len(self._labels)} images judged anomalous.{where}")
