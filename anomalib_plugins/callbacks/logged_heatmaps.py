# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Heatmaps of a test in the experiment's logger, which anomalib 2.7 writes to files alone."""

from pathlib import Path
from typing import Any

import numpy as np
from anomalib.loggers.base import ImageLoggerBase
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, Trainer

MOST = 32  # images of a test: each is half a megabyte


class LoggedHeatmaps(Callback):
    """Gives the pictures of the model's visualizer to anomalib's loggers, e.g. ``AnomalibTensorBoardLogger``.

    They are those of the first 32 test images, named by folder and file.
    """

    def __init__(self) -> None:
        self.left = MOST

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Count the images of a test anew."""
        del trainer, pl_module
        self.left = MOST

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log what of this batch is among the first images."""
        del outputs, batch_idx, dataloader_idx
        loggers = [logger for logger in trainer.loggers if isinstance(logger, ImageLoggerBase)]
        visualizer = getattr(pl_module, "visualizer", None)
        if not loggers or not isinstance(visualizer, ImageVisualizer) or not self.left:
            return
        shown = list(batch)[: self.left]
        self.left -= len(shown)
        for item in shown:
            picture = visualizer.visualize(item)
            name = "/".join(Path(item.image_path or "image").parts[-2:])
            for logger in loggers if picture is not None else ():
                logger.add_image(np.asarray(picture), name=name, global_step=trainer.global_step)
