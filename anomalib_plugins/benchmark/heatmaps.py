# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Contact sheet of a trained model: image, ground truth and heatmap of some good and some defective parts."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataset, ImageItem
    from anomalib.models import AnomalibModule


def spread(indices: list[int], count: int) -> list[int]:
    """Choose at most ``count`` of ``indices``, evenly spaced from the first to the last."""
    if len(indices) <= count:
        return indices
    return [indices[round(step * (len(indices) - 1) / max(count - 1, 1))] for step in range(count)]


def choose(labels: list[int], good: int, anomalous: int) -> list[int]:
    """Choose good and defective images, evenly spaced through the test set, and return their indices.

    Args:
        labels: Labels of the images: 0 is good, 1 is defective.
        good: Largest number of good images.
        anomalous: Largest number of defective images.
    """
    return [
        index
        for label, count in ((0, good), (1, anomalous))
        for index in spread([i for i, each in enumerate(labels) if each == label], count)
    ]


@torch.no_grad()
def predict(model: "AnomalibModule", item: "ImageItem") -> tuple[Tensor, float]:
    """Predict the raw anomaly map ``(H, W)`` and score of one image of a dataset, before post-processing."""
    image = item.image[None].to(model.device)
    output = model.model(model.pre_processor(image) if model.pre_processor else image)
    score = output.anomaly_map.amax() if output.pred_score is None else output.pred_score
    return output.anomaly_map.float().cpu().squeeze(), float(score)


def save_sheet(
    model: "AnomalibModule", dataset: "AnomalibDataset", path: Path, good: int = 3, anomalous: int = 9
) -> None:
    """Draw the contact sheet, with all heatmaps on the same scale, and write it to a file.

    Args:
        model: Trained model.
        dataset: Test images with labels and optional masks.
        path: Image file to write.
        good: Largest number of good images to show.
        anomalous: Largest number of defective images to show.
    """
    model.eval()
    chosen = choose([int(label) for label in dataset.samples.label_index], good, anomalous)
    items = [dataset[index] for index in chosen]
    maps, scores = zip(*(predict(model, item) for item in items), strict=True)
    finite = torch.cat([each[each.isfinite()] for each in maps])
    low, high = float(finite.min()), float(finite.max())
    figure, axes = plt.subplots(3, len(items), figsize=(1.6 * len(items), 5.4), squeeze=False, layout="constrained")
    for column, item, heat, score in zip(axes.T, items, maps, scores, strict=True):
        image = item.image.permute(1, 2, 0)
        column[0].imshow(image)
        column[0].set_title(f"{Path(item.image_path).parent.name}\n{score:.3g}", fontsize=8)
        column[1].imshow(torch.zeros(image.shape[:2]) if item.gt_mask is None else item.gt_mask, cmap="gray", vmax=1)
        column[2].imshow(heat, cmap="inferno", vmin=low, vmax=high)
    for axis in axes.flat:
        axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
