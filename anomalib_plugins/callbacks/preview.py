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

    The pictures come from the model's own ``preview_anomalies(images) -> SyntheticBatch``; where there is no such
    method, or it gives ``None``, nothing is saved and a warning says so. A model that places its anomalies by saliency
    shows that in a fourth column: ``preview_saliency(images)`` gives maps ``(N, 1, H, W)`` in ``[0, 1]``, or ``None``.
    Training goes on exactly as it would without the callback.

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
        images = batch.image[: self.num_images].detach().clone()
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices), torch.no_grad():
            made, saliency = (
                getattr(pl_module, name, lambda _: None)(images) for name in ("preview_anomalies", "preview_saliency")
            )
        if made is None:
            rank_zero_warn(f"{type(pl_module).__name__} has no preview_anomalies(images), or none to show: no preview.")
            return
        path = Path(self.path or Path(trainer.default_root_dir) / "synthesis_preview.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_preview(images, made, saliency).save(path)
        rank_zero_info(f"What the model is taught: {path}")


def draw_preview(images: Tensor, made: SyntheticBatch, saliency: Tensor | None = None) -> Image.Image:
    """Draw a labelled picture of images before and after.

    Args:
        images: Input ``(N, 3, H, W)``, RGB in ``[0, 1]``.
        made: What was made of them.
        saliency: What placed the anomalies ``(N, 1, H, W)`` in ``[0, 1]``; shown as heat on the images.

    Returns:
        ``N`` rows under a line of headings; each row says which kind of anomaly it shows.
    """
    scale = CELL / max(images.shape[-2:])
    height, width = (max(1, round(side * scale)) for side in images.shape[-2:])
    columns = dict(zip(COLUMNS, (images, made.image, made.mask.expand(-1, 3, -1, -1)), strict=True))
    if saliency is not None:
        columns["Saliency"] = heat(images, saliency)
    picture = Image.new(
        "RGB",
        (GAP + len(columns) * (width + GAP), HEADER + len(images) * (height + GAP)),
        "white",
    )
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for column, (title, cells) in enumerate(columns.items()):
        left = GAP + column * (width + GAP)
        pen.text((left, 4), title, fill="black", font=font)
        resized = interpolate(cells.detach().float().cpu(), size=(height, width), mode="nearest-exact")
        for row, cell in enumerate(resized.clamp(0, 1)):
            picture.paste(to_pil_image(cell), (left, HEADER + row * (height + GAP)))
    for row, kind in enumerate(made.kind.tolist()):
        place = (GAP + 4 + width + GAP, HEADER + 2 + row * (height + GAP))
        pen.text(place, KINDS[kind], fill="white", font=font, stroke_width=2, stroke_fill="black")
    return picture


def heat(images: Tensor, maps: Tensor) -> Tensor:
    """Images in grey under a map: nothing over its zeros, then red, then yellow over its ones.

    Args:
        images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.
        maps: In ``[0, 1]`` ``(N, 1, H, W)``.

    Returns:
        ``(N, 3, H, W)``.
    """
    maps = maps.to(images)
    colour = torch.cat([torch.ones_like(maps), maps, torch.zeros_like(maps)], dim=1)
    return torch.lerp(images.mean(dim=1, keepdim=True).expand_as(images), colour, 0.8 * maps)
