# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""From anomaly maps to scores that are safe to act on."""

import torch
from torch import Tensor
from torch.nn import functional as F

BROKEN_SCORE = 2.0


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
        raise ValueError(msg)
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
        raise ValueError(msg)
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
    """Let no image with a NaN or an infinity pass as normal.

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
        The scores and maps, unchanged for images whose pixels and score are finite.
    """
    finite = torch.isfinite(images).flatten(1).all(dim=1) & torch.isfinite(pred_score)  # (N,)
    score = pred_score.masked_fill(~finite, value)
    return score, anomaly_map.masked_fill(~finite[:, None, None, None], value)


def spread_non_finite(images: Tensor) -> Tensor:
    """Fill images that hold a NaN or an infinity with NaN, so that no resizing can step over the broken pixels.

    Whatever resizes images may skip pixels, as anomalib's pre-processor does in exported models.

    Args:
        images: ``(N, C, H, W)``, floating point.

    Returns:
        ``(N, C, H, W)``; finite images are unchanged.
    """
    finite = torch.isfinite(images).flatten(1).all(dim=1)  # (N,)
    return images.masked_fill(~finite[:, None, None, None], torch.nan)
