# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""From anomaly maps to scores that are safe to act on."""

import torch
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.errors import UserError, UserTypeError

BROKEN_SCORE = 2.0
MARGIN = 0.5  # how far outside [0, 1] a pixel may lie: a bicubic resize gets to 0.45


def top_k_score(anomaly_map: Tensor, k: int = 100) -> Tensor:
    """Mean of the ``k`` largest pixels of each map.

    Args:
        anomaly_map: ``(N, 1, H, W)``.
        k: Number of pixels; all pixels where a map has fewer.

    Returns:
        Scores ``(N,)``.

    Raises:
        ValueError: If ``k`` is less than 1.

    Example:
        >>> top_k_score(torch.arange(4.0).reshape(1, 1, 2, 2), k=2)
        tensor([2.5000])
    """
    if k < 1:
        msg = f"k must be at least 1 pixel, got {k}"
        raise UserError(msg)
    pixels = anomaly_map.flatten(1)
    # sym_min instead of min: the traced graph of an export keeps the choice open when the image size is dynamic.
    return pixels.topk(torch.sym_min(k, pixels.shape[1]), dim=1).values.mean(dim=1)


def window_score(anomaly_map: Tensor, side: int = 21) -> Tensor:
    """Largest mean over any square window of each map; beyond the border lie zeros, which count.

    Args:
        anomaly_map: ``(N, 1, H, W)``.
        side: Side of the window, in pixels; odd.

    Returns:
        Scores ``(N,)`` in float32.

    Raises:
        ValueError: If ``side`` is even or below 1.

    Example:
        >>> window_score(torch.ones(1, 1, 3, 3), side=3)
        tensor([1.])
    """
    if side < 1 or side % 2 == 0:
        msg = f"side must be an odd number of pixels, got {side}"
        raise UserError(msg)
    with torch.autocast(anomaly_map.device.type, enabled=False):
        # Rows, then columns: the same mean from 2 * side instead of side**2 pixels.
        rows = F.avg_pool2d(anomaly_map.float(), (1, side), stride=1, padding=(0, side // 2))
        means = F.avg_pool2d(rows, (side, 1), stride=1, padding=(side // 2, 0))
    return means.flatten(1).amax(dim=1)


def never_normal(
    images: Tensor,
    pred_score: Tensor,
    anomaly_map: Tensor,
    value: float = BROKEN_SCORE,
) -> tuple[Tensor, Tensor]:
    """Let no image with a NaN, an infinity or pixels far outside ``[0, 1]`` pass as normal.

    Comparisons with NaN are false, so a broken image would be labelled normal. Neither does NaN reliably reach the
    output: ReLU, max-pooling and the kernels of some runtimes swallow it. So the input itself is looked at.

    Args:
        images: What the network saw ``(N, 3, H, W)``.
        pred_score: Scores ``(N,)``.
        anomaly_map: ``(N, 1, H, W)``.
        value: Score of a broken image and of all its pixels. It must lie above every regular score, because the
            post-processor's threshold may be the largest score it saw and labels what is *strictly* above. It must
            be of their order, because one broken validation image stretches the range the post-processor normalises
            with: infinity would press all other scores to one value. The default suits probabilities.

    Returns:
        The scores and maps, unchanged for images that are usable and have a finite score.
    """
    fine = usable(images) & torch.isfinite(pred_score)  # (N,)
    score = pred_score.masked_fill(~fine, value)
    return score, anomaly_map.masked_fill(~fine[:, None, None, None], value)


def as_rgb(images: Tensor) -> Tensor:
    """Images as files are read: RGB in floating point.

    Args:
        images: Grey, RGB or RGBA ``(N, 1 | 3 | 4, H, W)``; bytes are divided by 255.

    Returns:
        ``(N, 3, H, W)``; RGBA loses its last channel.

    Raises:
        TypeError: If the pixels are other whole numbers, whose scale nobody knows.
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
    """Whether each image has nothing but numbers in ``[0, 1]``, give or take what resizing overshoots.

    Pixels of another scale (0 to 255, or normalised) make some networks call every defect normal.

    Args:
        images: ``(N, C, H, W)``, floating point.

    Returns:
        ``(N,)``.
    """
    return ((images - 0.5).abs() < 0.5 + MARGIN).flatten(1).all(dim=1)  # a NaN is not below anything


def spread_unusable(images: Tensor) -> Tensor:
    """Fill images that are not :func:`usable` with NaN, so that no resizing can step over the pixels that say so.

    Whatever resizes images may skip pixels, and averages the others.

    Args:
        images: ``(N, C, H, W)``, floating point.

    Returns:
        ``(N, C, H, W)``; usable images are unchanged.
    """
    return images.masked_fill(~usable(images)[:, None, None, None], torch.nan)
