# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Pictures of what Slsg's graph block relates a patch to."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import draw_bounding_boxes, make_grid

from anomalib_plugins.components.checks import check_least
from anomalib_plugins.errors import UserError


class GraphNeighbors(Callback):
    """Saves photos on which a patch and its neighbours in the graph of `Slsg` are framed.

    The patch, framed in red, is the one with the highest anomaly score. Its neighbours, framed in yellow, are what the
    graph block compares it with (Fig. 8 of the SLSG paper). The callback draws the first batch of every validation
    while a model trains, and of ``anomalib test`` or ``predict`` for a checkpoint.

    Args:
        num_images: Largest number of photos to show, at least 1.
        path: File to write. ``None`` writes ``graph_neighbors.png`` in the results folder of the run.

    Raises:
        ValueError: If ``num_images`` is below 1, or the model has no graph block or cuts its images into tiles.
    """

    def __init__(self, num_images: int = 8, path: Path | str | None = None) -> None:
        check_least("num_images", num_images)
        self.num_images = num_images
        self.path = path

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse models whose graph cannot be drawn."""
        del trainer, stage
        network: Any = pl_module.model
        if not getattr(getattr(network, "sg_block", None), "use_gcn", False) or network.tiler is not None:
            msg = "GraphNeighbors draws the graph of Slsg with use_gcn=True and without tiles; remove the callback"
            raise UserError(msg)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Save the picture of the first batch."""
        del outputs
        if batch_idx or not trainer.is_global_zero or trainer.sanity_checking:
            return
        path = Path(self.path or Path(trainer.default_root_dir) / "graph_neighbors.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_neighbors(pl_module.model, batch.image[: self.num_images]).save(path)
        rank_zero_info(f"Neighbours in the graph: {path}")

    on_test_batch_end = on_validation_batch_end
    on_predict_batch_end = on_validation_batch_end


@torch.no_grad()
def draw_neighbors(network: Any, images: Tensor) -> Image.Image:
    """Frame the most anomalous patch of each image and its neighbours in the graph.

    Args:
        network: `SlsgModel` in evaluation mode.
        images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

    Returns:
        Picture of all images in a grid.
    """
    features: list[Tensor] = []
    hook = network.sg_block.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    try:
        maps = network(images).anomaly_map
    finally:
        hook.remove()
    rows, columns = features[0].shape[-2:]
    worst = F.adaptive_max_pool2d(maps.float(), (rows, columns)).flatten(1).argmax(dim=1)
    size = torch.tensor([images.shape[-1] / columns, images.shape[-2] / rows]).repeat(2)
    pictures = []
    for image, patch, neighbors in zip(images, worst.tolist(), network.sg_block.graph(features[0]).cpu(), strict=True):
        shown = torch.cat([neighbors[patch][neighbors[patch] != patch], torch.tensor([patch])])
        corner = torch.stack([shown % columns, shown // columns], dim=1)
        boxes = torch.cat([corner, corner + 1], dim=1) * size
        colours = ["yellow"] * (len(shown) - 1) + ["red"]
        pictures.append(draw_bounding_boxes((image.cpu().clamp(0, 1) * 255).byte(), boxes, colors=colours, width=2))
    return to_pil_image(make_grid(torch.stack(pictures), nrow=4, pad_value=255))
