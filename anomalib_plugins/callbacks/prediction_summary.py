# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Says what came of a prediction, which anomalib ends without a word."""

from pathlib import Path
from typing import Any

import pandas as pd
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info


class PredictionSummary(Callback):
    """Logs how many images were judged anomalous, where their heatmaps are, and where the scores of all.

    The scores are in ``predictions.csv`` in the trainer's root folder: ``image_path``, ``pred_score`` and
    ``pred_label``, 1 for a defect.

    Stands after the post-processor, which gives the labels, and the visualizer, which chooses the folder. Of several
    devices, the first one's images count.
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        del trainer, pl_module
        self._rows = []

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *numbers: int) -> None:
        """Collect; a model without a threshold gives no labels."""
        del trainer, pl_module, numbers
        labels, scores = getattr(outputs, "pred_label", None), getattr(outputs, "pred_score", None)
        if labels is None or scores is None:
            return
        paths = getattr(batch, "image_path", None) or [""] * len(labels)
        each = zip(paths, scores.flatten().tolist(), labels.flatten().tolist(), strict=True)
        self._rows += [{"image_path": p, "pred_score": score, "pred_label": int(label)} for p, score, label in each]

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it."""
        del pl_module
        if not self._rows or not trainer.is_global_zero:
            return
        table = pd.DataFrame(self._rows)
        file = Path(trainer.default_root_dir) / "predictions.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(file, index=False)
        folders = [each.output_dir for each in trainer.callbacks if isinstance(each, ImageVisualizer)]
        where = f" Heatmaps: {folders[0]}" if folders else ""
        rank_zero_info(f"{table.pred_label.sum()} of {len(table)} images judged anomalous.{where} Scores: {file}")
