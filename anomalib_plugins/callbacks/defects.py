# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Where the defects of a photo are, in its own pixels."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes

COLUMNS = ("image_path", "left", "top", "width", "height", "area", "share", "score")
"""Columns of ``defects.csv``."""


class Placement(NamedTuple):
    """Where a photo lies in the image that a model sees.

    Attributes:
        size: Width and height of the photo in pixels.
        scale: Pixels of the image per pixel of the photo, across and down.
        offset: Position of the photo's upper left corner in the image, across and down.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]


def placement(transform: Any, size: tuple[int, int], shape: tuple[int, int]) -> Placement | None:
    """Follow a box in the middle of a photo through a transform that resizes, crops or pads.

    Args:
        transform: Transform of torchvision; ``None`` leaves photos as they are.
        size: Width and height of the photo in pixels.
        shape: Height and width of the model's image.

    Returns:
        ``None`` if the transform loses the box or gives an image of another shape.
    """
    box = torch.tensor([[0.45, 0.45, 0.55, 0.55]]) * torch.tensor([*size, *size])
    boxes = BoundingBoxes(box, format="XYXY", canvas_size=size[::-1])
    try:
        moved = transform(boxes) if transform else boxes
    except Exception:  # noqa: BLE001  # a transform for images only may raise anything
        return None
    if not isinstance(moved, BoundingBoxes) or tuple(moved.canvas_size) != tuple(shape):
        return None
    scale = (moved[0, 2:] - moved[0, :2]) / (box[0, 2:] - box[0, :2])
    offset = moved[0, :2] - scale * box[0, :2]
    return Placement(size, tuple(scale.tolist()), tuple(offset.tolist())) if (scale > 0).all() else None


def defects(mask: Tensor, anomaly_map: Tensor, place: Placement) -> list[dict[str, Any]]:
    """Describe each connected part of a mask, the largest first.

    Args:
        mask: Defective pixels ``(H, W)`` of the model's image.
        anomaly_map: Scores of the pixels ``(H, W)``.
        place: Where the photo lies in the image.

    Returns:
        Box ``left``, ``top``, ``width``, ``height`` and ``area`` in pixels of the photo; ``share`` of the photo's area;
        ``score`` of the most anomalous pixel.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.cpu().numpy().astype(np.uint8), connectivity=8)
    peaks = ndimage.maximum(anomaly_map.float().cpu().numpy(), labels, range(1, count))
    whole = place.size[0] * place.size[1]
    rows = []
    for (x, y, width, height, pixels), peak in zip(stats[1:].tolist(), peaks, strict=True):
        left, right = _in_photo(x, x + width, place, 0)
        top, bottom = _in_photo(y, y + height, place, 1)
        area = min(whole, round(pixels / place.scale[0] / place.scale[1]))
        box = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        rows.append({**box, "area": area, "share": area / whole, "score": float(peak)})
    return sorted(rows, key=lambda row: -row["area"])


def _in_photo(start: int, end: int, place: Placement, axis: int) -> tuple[int, int]:
    """First and last-but-one pixel of the photo that the pixels ``start`` to ``end`` of the image touch."""
    low, high = ((edge - place.offset[axis]) / place.scale[axis] for edge in (start, end))
    # Rounded before: resizing by 3 and back must not gain a pixel.
    edges = np.floor(round(low, 3)), np.ceil(round(high, 3))
    first, last = np.clip(edges, 0, place.size[axis]).astype(int).tolist()
    return first, last
