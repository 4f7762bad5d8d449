# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Preview of the simulated anomalies that a model trains on."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from PIL import Image
from torch import Tensor

from anomalib_plugins.components.checks import check_least
from anomalib_plugins.components.pictures import heat, table
from anomalib_plugins.synthesis import SyntheticBatch

COLUMNS = ("Input", "Synthetic anomaly", "Mask")
KINDS = ("normal", "structural", "logical")


class SynthesisPreview(Callback):
    """Saves a picture with input, synthetic anomaly and mask for images of the first training batch.

    The anomalies come from the model's method ``preview_anomalies(images) -> SyntheticBatch``. If the model has no such
    method or it returns ``None``, a warning is given and nothing is saved. A fourth column shows the saliency if the
    model's ``preview_saliency(images)`` returns maps ``(N, 1, H, W)`` in ``[0, 1]``. The callback does not affect
    training.

    Args:
        num_images: Largest number of images to show, at least 1.
        path: File to write. ``None`` writes ``synthesis_preview.png`` in the results folder of the run.

    Raises:
        ValueError: If ``num_images`` is below 1.
    """

    def __init__(self, num_images: int = 8, path: Path | str | None = None) -> None:
        check_least("num_images", num_images)
        self.num_images = num_images
        self.path = path
        self._saved = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare the callback for a new run."""
        del trainer, pl_module
        self._saved = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save the picture at the first batch."""
        del batch_idx
        if self._saved or not trainer.is_global_zero:
            return
        self._saved = True
        images = batch.image[: self.num_images].detach().clone()
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices), torch.no_grad():
            made, saliency = (
                getattr(pl_module, name, lambda _: None)(images) for name in ("preview_anomalies", "preview_saliency")
            )
        if made is None:
            rank_zero_warn(f"No preview: {type(pl_module).__name__} has no preview_anomalies(images) or none to show.")
            return
        path = Path(self.path or Path(trainer.default_root_dir) / "synthesis_preview.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_preview(images, made, saliency).save(path)
        rank_zero_info(f"Preview of the simulated anomalies: {path}")


def draw_preview(images: Tensor, made: SyntheticBatch, saliency: Tensor | None = None) -> Image.Image:
    """Draw a labelled picture of images before and after.

    Args:
        images: RGB input images ``(N, 3, H, W)`` in ``[0, 1]``.
        made: Simulated anomalies of the images.
        saliency: Saliency maps that placed the anomalies ``(N, 1, H, W)`` in ``[0, 1]``, shown as heatmaps.

    Returns:
        Picture of ``N`` rows under a line of headings, each row labelled with its kind of anomaly.
    """
    columns = dict(zip(COLUMNS, (images, made.image, made.mask), strict=True))
    if saliency is not None:
        columns["Saliency"] = heat(images, saliency)
    return table(columns, {COLUMNS[1]: [KINDS[kind] for kind in made.kind.tolist()]})
