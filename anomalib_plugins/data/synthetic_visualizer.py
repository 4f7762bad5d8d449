# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Shows synthetic images where anomalib's visualizer would show the normal photos they were made from."""

from pathlib import Path
from typing import Any

import numpy as np
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

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save one picture for each item of the batch, anomalous images in a folder of their own."""
        del pl_module, outputs, dataloader_idx
        folder = Path(self.output_dir or Path(trainer.default_root_dir) / "images")
        settings = ("fields", "overlay_fields", "field_size", "fields_config", "overlay_fields_config", "text_config")
        data, paths = trainer.datamodule, self.dataset.samples.image_path
        first = batch_idx * data.eval_batch_size if data else 0
        for i, item in enumerate(batch):
            path = item.image_path or ""
            row = ((first + i) * trainer.world_size + trainer.global_rank) % len(paths)  # devices take turns
            if data and path == paths.iloc[row]:
                path = self._file_name(row)
                item.image, item.image_path = self.dataset[row].image, None
            picture = visualize_image_item(item, **{name: getattr(self, name) for name in settings})
            if picture is not None:
                names = (data.name, data.category) if data else (None, None)
                picture.save(generate_output_filename(path, folder, *names))

    def _file_name(self, row: int) -> str:
        """The photo's path; in a folder ``synthetic`` for an anomalous image, numbered if there are several."""
        samples = self.dataset.samples
        photo, label = samples.image_path.iloc[row], samples.label_index.iloc[row]
        same, path = np.flatnonzero((samples.image_path == photo) & (samples.label_index == label)), Path(photo)
        name = f"{path.stem}_{int(np.searchsorted(same, row))}{path.suffix}" if len(same) > 1 else path.name
        return str(path.parent.parent / "synthetic" / name if label else path.with_name(name))

    on_predict_batch_end = on_test_batch_end


def show_synthetic_images(trainer: Trainer, dataset: SyntheticDataset) -> None:
    """Let the trainer's image visualizer show the dataset's synthetic images."""
    if any(type(callback) is ImageVisualizer for callback in trainer.callbacks):
        others = [callback for callback in trainer.callbacks if not isinstance(callback, SyntheticVisualizer)]
        trainer.callbacks = [SyntheticVisualizer(c, dataset) if type(c) is ImageVisualizer else c for c in others]
