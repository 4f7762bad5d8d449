# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Images and scores that are safe to act on."""

import torch
from torch import Tensor

from anomalib_plugins.errors import UserError, UserTypeError

BROKEN_SCORE = 2.0
MARGIN = 0.5  # how far outside [0, 1] a pixel may lie: a bicubic resize gets to 0.45


def top_k_score(anomaly_map: Tensor, k: int = 100) -> Tensor:
    """Mean ``(N,)`` of the ``k`` largest pixels of each map ``(N, 1, H, W)``, or of all pixels if a map has fewer.

    Example:
        >>> top_k_score(torch.arange(4.0).reshape(1, 1, 2, 2), k=2)
        tensor([2.5000])
    """
    pixels = anomaly_map.flatten(1)
    # sym_min instead of min: the traced graph of an export keeps the choice open when the image size is dynamic.
    return pixels.topk(torch.sym_min(k, pixels.shape[1]), dim=1).values.mean(dim=1)


def mark_non_finite(
    images: Tensor,
    pred_score: Tensor,
    anomaly_map: Tensor,
    value: float = BROKEN_SCORE,
) -> tuple[Tensor, Tensor]:
    """Set the scores and maps of images with a NaN, an infinity or pixels far outside ``[0, 1]`` to a value.

    Comparisons with NaN are false, so that such an image would be labelled normal. NaN does not always reach the
    output either, because ReLU, max-pooling and the kernels of some runtimes drop it; therefore the input is checked.

    Args:
        images: Input of the network ``(N, 3, H, W)``.
        pred_score: Scores ``(N,)``.
        anomaly_map: Anomaly maps ``(N, 1, H, W)``.
        value: Score of a broken image and of all its pixels. It must be above every regular score, because the
            threshold may be the largest of them and only scores *strictly* above it are anomalous. It must be of their
            magnitude, because one broken validation image stretches the range of the normalisation: with infinity, all
            other scores would become equal. The default suits probabilities.

    Returns:
        Scores and maps, unchanged for images that are usable and have a finite score.
    """
    fine = usable(images) & torch.isfinite(pred_score)  # (N,)
    score = pred_score.masked_fill(~fine, value)
    return score, anomaly_map.masked_fill(~fine[:, None, None, None], value)


def as_rgb(images: Tensor) -> Tensor:
    """Convert grey, RGB or RGBA images ``(N, 1 | 3 | 4, H, W)`` to RGB in floating point; bytes are divided by 255.

    Raises:
        TypeError: If the pixels are other integers, whose scale is unknown.
        ValueError: If the shape is another.

    Example:
        >>> as_rgb(torch.full((1, 1, 32, 32), 255, dtype=torch.uint8)).shape
        torch.Size([1, 3, 32, 32])
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] not in {1, 3, 4}:
        got = tuple(images.shape) if hasattr(images, "shape") else type(images).__name__
        msg = f"images must be a tensor of shape (N, 3, H, W), got {got}"
        raise UserError(msg)
    if images.dtype == torch.uint8:
        images = images.float() / 255
    if not images.is_floating_point():
        msg = f"pixels must be floats in [0, 1] or uint8, got {images.dtype}: divide them by the camera's largest value"
        raise UserTypeError(msg)
    return images[:, :3] if images.shape[1] == 4 else images.expand(-1, 3, -1, -1)


def usable(images: Tensor) -> Tensor:
    """Whether each image ``(N, C, H, W)`` is finite and in ``[0, 1]``, apart from the overshoot of resizing: ``(N,)``.

    Pixels of another scale (0 to 255, or normalised) make some networks call every defect normal.
    """
    return ((images - 0.5).abs() < 0.5 + MARGIN).flatten(1).all(dim=1)  # a NaN is not below anything


def spread_unusable(images: Tensor) -> Tensor:
    """Fill images ``(N, C, H, W)`` that are not :func:`usable` with NaN: resizing may skip or average pixels."""
    return images.masked_fill(~usable(images)[:, None, None, None], torch.nan)
