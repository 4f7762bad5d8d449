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
    """At most ``count`` of ``indices``, evenly spaced from the first to the last."""
    if len(indices) <= count:
        return indices
    return [indices[round(step * (len(indices) - 1) / max(count - 1, 1))] for step in range(count)]


def choose(labels: list[int], good: int, anomalous: int) -> list[int]:
    """Indices of ``good`` normal and ``anomalous`` defective images, evenly spaced through the test set.

    Args:
        labels: 0 for a good image, 1 for a defective one.
        good: How many good ones to show.
        anomalous: How many defective ones to show.
    """
    return [
        index
        for label, count in ((0, good), (1, anomalous))
        for index in spread([i for i, each in enumerate(labels) if each == label], count)
    ]


@torch.no_grad()
def predict(model: "AnomalibModule", item: "ImageItem") -> tuple[Tensor, float]:
    """Raw anomaly map ``(H, W)`` and score of one image of a dataset, before post-processing."""
    image = item.image[None].to(model.device)
    output = model.model(model.pre_processor(image) if model.pre_processor else image)
    score = output.anomaly_map.amax() if output.pred_score is None else output.pred_score
    return output.anomaly_map.float().cpu().squeeze(), float(score)


def save_sheet(
    model: "AnomalibModule", dataset: "AnomalibDataset", path: Path, good: int = 3, anomalous: int = 9
) -> None:
    """Draw the sheet, all heatmaps on one scale, and write it to ``path``.

    Args:
        model: A trained model.
        dataset: Test images with labels, and masks where there are any.
        path: Image file to write.
        good: How many good images to show.
        anomalous: How many defective images to show.
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
