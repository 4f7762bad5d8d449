# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Saves a picture of the anomalies a model is taught, because people look before they train."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import to_pil_image

from anomalib_plugins.synthesis import SyntheticBatch

CELL = 224  # pixels of the longer side of a shown image
GAP, HEADER = 6, 24
COLUMNS = ("Input", "Synthetic anomaly", "Mask")
KINDS = ("normal", "structural", "logical")


class SynthesisPreview(Callback):
    """Saves rows of input, synthetic anomaly and mask for images of the first training batch.

    The pictures come from the model's own ``preview_anomalies(images) -> SyntheticBatch``; without that method
    nothing is saved and a warning says so. Training goes on exactly as it would without the callback.

    Args:
        num_images: Rows, at least 1; a smaller batch gives fewer.
        path: File to write; default ``synthesis_preview.png`` in the run's results folder.

    Raises:
        ValueError: If ``num_images`` is below 1.
    """

    def __init__(self, num_images: int = 8, path: Path | str | None = None) -> None:
        if num_images < 1:
            msg = f"num_images must be at least 1, got {num_images}"
            raise ValueError(msg)
        self.num_images = num_images
        self.path = path
        self._saved = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arm the callback for this run."""
        del trainer, pl_module
        self._saved = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save the picture at the first batch."""
        del batch_idx
        if self._saved or not trainer.is_global_zero:
            return
        self._saved = True
        if not hasattr(pl_module, "preview_anomalies"):
            rank_zero_warn(f"{type(pl_module).__name__} has no preview_anomalies(images): no preview of its anomalies.")
            return
        images = batch.image[: self.num_images].detach().clone()
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices), torch.no_grad():
            made = pl_module.preview_anomalies(images)
        path = Path(self.path or Path(trainer.default_root_dir) / "synthesis_preview.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_preview(images, made).save(path)
        rank_zero_info(f"What the model is taught: {path}")


def draw_preview(images: Tensor, made: SyntheticBatch) -> Image.Image:
    """Draw a labelled picture of images before and after.

    Args:
        images: Input ``(N, 3, H, W)``, RGB in ``[0, 1]``.
        made: What was made of them.

    Returns:
        ``N`` rows under a line of headings; each row says which kind of anomaly it shows.
    """
    scale = CELL / max(images.shape[-2:])
    height, width = (max(1, round(side * scale)) for side in images.shape[-2:])
    masks = made.mask.expand(-1, 3, -1, -1)
    picture = Image.new(
        "RGB",
        (GAP + len(COLUMNS) * (width + GAP), HEADER + len(images) * (height + GAP)),
        "white",
    )
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for column, (title, cells) in enumerate(zip(COLUMNS, (images, made.image, masks), strict=True)):
        left = GAP + column * (width + GAP)
        pen.text((left, 4), title, fill="black", font=font)
        resized = interpolate(cells.detach().float().cpu(), size=(height, width), mode="nearest-exact")
        for row, cell in enumerate(resized.clamp(0, 1)):
            picture.paste(to_pil_image(cell), (left, HEADER + row * (height + GAP)))
    for row, kind in enumerate(made.kind.tolist()):
        place = (GAP + 4 + width + GAP, HEADER + 2 + row * (height + GAP))
        pen.text(place, KINDS[kind], fill="white", font=font, stroke_width=2, stroke_fill="black")
    return picture
