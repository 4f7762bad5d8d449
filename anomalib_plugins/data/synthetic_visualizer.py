# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Shows synthetic images where anomalib's visualizer would show the normal photos they were made from."""

from pathlib import Path
from typing import Any

from anomalib.utils.path import generate_output_filename
from anomalib.visualization import ImageVisualizer
from anomalib.visualization.image.item_visualizer import visualize_image_item
from lightning.pytorch import Trainer

from .synthetic_dataset import SyntheticDataset


class SyntheticVisualizer(ImageVisualizer):
    """Draws what ``visualizer`` would, with the images of ``dataset``.

    anomalib's visualizer reads each picture again from its ``image_path``, and a synthetic image is in no file: the
    normal photo would be shown under the mask and heatmap of an anomaly. Here the image is made once more.

    Args:
        visualizer: Whose settings to use.
        dataset: Where the images come from; those it does not know are read from their file.
    """

    def __init__(self, visualizer: ImageVisualizer, dataset: SyntheticDataset) -> None:
        super().__init__()
        self.__dict__.update(vars(visualizer))
        self.dataset = dataset
        self.rows = {path: row for row, path in enumerate(dataset.samples.image_path)}

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Save one picture for each item of the batch."""
        del pl_module, outputs
        folder = Path(self.output_dir or Path(trainer.default_root_dir) / "images")
        settings = ("fields", "overlay_fields", "field_size", "fields_config", "overlay_fields_config", "text_config")
        for item in batch:
            path, row = item.image_path, self.rows.get(item.image_path)
            if row is not None:
                item.image, item.image_path = self.dataset[row].image, None
            picture = visualize_image_item(item, **{name: getattr(self, name) for name in settings})
            if picture is not None:
                names = (trainer.datamodule.name, trainer.datamodule.category) if trainer.datamodule else (None, None)
                picture.save(generate_output_filename(path or "", folder, *names))

    on_predict_batch_end = on_test_batch_end


def show_synthetic_images(trainer: Trainer, dataset: SyntheticDataset) -> None:
    """Let the trainer's image visualizer show the dataset's synthetic images."""
    if any(type(callback) is ImageVisualizer for callback in trainer.callbacks):
        others = [callback for callback in trainer.callbacks if not isinstance(callback, SyntheticVisualizer)]
        trainer.callbacks = [SyntheticVisualizer(c, dataset) if type(c) is ImageVisualizer else c for c in others]
