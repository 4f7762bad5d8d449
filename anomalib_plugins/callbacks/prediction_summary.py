# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Says what came of a prediction, which anomalib ends without a word."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch.distributed
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from PIL import Image

from .defects import COLUMNS, defects, placement


class PredictionSummary(BasePredictionWriter):
    """Logs how many images were judged anomalous, where their heatmaps are, and where the scores of all.

    The scores are in ``predictions.csv`` in the trainer's root folder: ``image_path``, ``pred_score`` and
    ``pred_label``, 1 for a defect; in the order of the data set, on any number of devices. ``defects.csv`` beside it
    has a row for each connected part of the predicted mask of an anomalous image: ``left``, ``top``, ``width``,
    ``height`` and ``area`` in pixels of the photo, ``share`` of its area, and the highest ``score`` of its pixels.

    Another prediction into the same folder writes ``predictions_2.csv`` and ``defects_2.csv``.

    Stands after the post-processor, which gives the labels, and the visualizer, which chooses the folder.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self._rows: dict[tuple[int, int], dict[str, Any]] = {}  # by dataloader and position in its dataset

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, and let the command line keep no images: nobody gets what it would return."""
        del pl_module
        self._rows = {}
        if any(isinstance(callback, SaveConfigCallback) for callback in trainer.callbacks):
            trainer.predict_loop.return_predictions = False

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Collect; a model without a threshold gives no labels."""
        del batch_idx
        labels, scores = getattr(prediction, "pred_label", None), getattr(prediction, "pred_score", None)
        if labels is None or scores is None:
            return
        first = len(self._rows)  # a dataset that is read from its start to its end has no indices
        indices = batch_indices or [(first + i) * trainer.world_size + trainer.global_rank for i in range(len(labels))]
        paths = getattr(batch, "image_path", None) or [""] * len(labels)
        transform = getattr(getattr(pl_module, "pre_processor", None), "transform", None)
        for i, (index, path, score, label) in enumerate(
            zip(indices, paths, scores.flatten(), labels.flatten(), strict=True)
        ):
            row = {"image_path": path, "pred_score": score.item(), "pred_label": int(label)}
            found = _defects(prediction, i, path, transform) if label else []
            self._rows[dataloader_idx, index] = {**row, "defects": found}

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it, of all devices."""
        del pl_module
        rows = self._rows
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, rows)
            rows = {position: row for share in shares for position, row in share.items()}
        if not rows or not trainer.is_global_zero:
            return
        table = pd.DataFrame([rows[position] for position in sorted(rows)])
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        scores = _unused(folder / "predictions.csv")
        table.drop(columns="defects").to_csv(scores, index=False)
        images = [each.output_dir for each in trainer.callbacks if isinstance(each, ImageVisualizer)]
        where = f"\n  Heatmaps: {images[0]}" if images else ""
        where += f"\n  Scores: {scores}"
        if table.defects.notna().all():  # all of their places are known
            places = scores.with_name(scores.name.replace("predictions", "defects"))
            _write_defects(table, places)
            where += f"\n  Defects: {places}"
        rank_zero_info(f"{table.pred_label.sum()} of {len(table)} images judged anomalous.{where}")


def _unused(file: Path) -> Path:
    """The file, or the first numbered one beside it that does not exist."""
    numbered = (file.with_stem(f"{file.stem}_{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([file], numbered) if not path.exists())


def _defects(prediction: Any, number: int, path: str, transform: Any) -> list[dict[str, Any]] | None:
    """Defects of one image of a batch, in pixels of its file; ``None`` if there are no masks or no such file."""
    masks, maps = getattr(prediction, "pred_mask", None), getattr(prediction, "anomaly_map", None)
    if masks is None or maps is None or not Path(path).is_file():
        return None
    mask, anomaly_map = (each[number].reshape(each.shape[-2:]) for each in (masks, maps))
    with Image.open(path) as photo:
        place = placement(transform, photo.size, mask.shape)
    return None if place is None else defects(mask, anomaly_map, place)


def _write_defects(table: pd.DataFrame, file: Path) -> None:
    known = table[table.defects.notna()]
    rows = [{"image_path": row.image_path, **defect} for row in known.itertuples() for defect in row.defects]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(file, index=False)
