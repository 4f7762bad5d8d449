# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Heatmaps of a test in the experiment's logger, which anomalib 2.7 writes to files alone."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from anomalib.loggers.base import ImageLoggerBase
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, Trainer

from anomalib_plugins.data.synthetic_dataset import SyntheticVisualizer

MOST = 32  # images of a test: each is half a megabyte


class LoggedHeatmaps(Callback):
    """Gives the pictures of the model's visualizer to anomalib's loggers, e.g. ``AnomalibTensorBoardLogger``.

    They are those of the first 32 test images, named by folder and file. Images with a simulated defect show it.
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
        del outputs, dataloader_idx
        loggers = [logger for logger in trainer.loggers if isinstance(logger, ImageLoggerBase)]
        visualizer = getattr(pl_module, "visualizer", None)
        if not loggers or not isinstance(visualizer, ImageVisualizer) or not self.left:
            return
        synthetic = next((each for each in trainer.callbacks if isinstance(each, SyntheticVisualizer)), None)
        items = synthetic.items(trainer, batch, batch_idx) if synthetic else ((item, item.image_path) for item in batch)
        for item, path in islice(items, self.left):
            self.left -= 1
            picture = visualizer.visualize(item)
            name = "/".join(Path(path or "image").parts[-2:])
            for logger in loggers if picture is not None else ():
                logger.add_image(np.asarray(picture), name=name, global_step=trainer.global_step)
