# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Saturated per-region overlap, the localisation metric of MVTec LOCO AD."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from anomalib.metrics import AnomalibMetric
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from anomalib_plugins.errors import UserError

from .loco import AnomalyKind, KindAUROC, Region, of_kind, read_regions

SAMPLE = 2**24  # full-size pixels that thresholds are chosen from: 64 MiB


def spro_curve(images: Iterable[tuple[Tensor, list[Region]]], thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Compute false positive rate and mean saturated overlap over all images at each threshold.

    The overlap of a region with saturation ``s`` is ``min(n / s, 1)`` where ``n`` of its pixels are found (Bergmann et
    al., 2022, `doi:10.1007/s11263-022-01578-9 <https://doi.org/10.1007/s11263-022-01578-9>`_). False positives are
    found pixels outside all regions of their image.

    Args:
        images: Pairs of an anomaly map ``(H, W)`` without NaN and its regions of the same size, one per image.
        thresholds: Ascending scores ``(T,)``; a pixel is found if its score is at least the threshold.

    Returns:
        False positive rate and overlap, both float64 ``(T + 2,)`` and ascending, from nothing found to everything
        found. The overlap is NaN if there are no regions, the rate if all pixels are defective.
    """
    false_positives = torch.zeros(len(thresholds) + 1, dtype=torch.float64)
    overlap = torch.zeros_like(false_positives)
    regions_seen = 0
    for scores, regions in images:
        normal = torch.ones_like(scores, dtype=torch.bool)
        for region in regions:
            overlap += (_found(scores[region.mask], thresholds) / region.saturation).clamp(max=1)
            normal &= ~region.mask
        false_positives += _found(scores[normal], thresholds)
        regions_seen += len(regions)
    fpr, overlap = false_positives / false_positives[-1], overlap / regions_seen
    return F.pad(fpr, (1, 0)), F.pad(overlap, (1, 0))


def _found(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Number of pixels found at each threshold, largest threshold first, then of all pixels: float64 ``(T + 1,)``."""
    missed = np.searchsorted(np.sort(scores.numpy()), thresholds.numpy()[::-1])
    return len(scores) - F.pad(torch.from_numpy(missed).double(), (0, 1))


def area_up_to(limit: float, fpr: Tensor, overlap: Tensor) -> Tensor:
    """Compute the area under a curve up to a false positive rate, divided by that rate.

    The rates ascend from 0 to 1, and the curve is linear between its points.

    Example:
        >>> area_up_to(0.5, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor(0.2500)
    """
    inside = int((fpr <= limit).sum())
    at_limit = float(np.interp(limit, fpr.numpy(), overlap.numpy()))
    x = torch.cat([fpr[:inside], fpr.new_tensor([limit])])
    y = torch.cat([overlap[:inside], overlap.new_tensor([at_limit])])
    return (torch.trapezoid(y, x) / limit).float()


def choose_thresholds(scores: Tensor, count: int) -> Tensor:
    """Choose at most ``count`` of the scores as thresholds, more densely among the high ones.

    The ``i``-th highest threshold has rank ``(i / count)^2`` among the scores, so half of the thresholds lie in the
    upper quarter. If there are at most ``count`` scores, all of them are used.
    """
    ranked = np.sort(scores.numpy())
    if len(ranked) > count:
        ranks = np.linspace(0, 1, count) ** 2 * (len(ranked) - 1)
        ranked = ranked[::-1][ranks.round().astype(np.int64)]
    return torch.from_numpy(np.unique(ranked))


class _SPRO(Metric):
    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    maps: list[Tensor]
    paths: list[Tensor]

    def __init__(
        self, kind: AnomalyKind | None = None, fpr_limit: float = 0.05, thresholds: int = 10_000, **kwargs: Any
    ) -> None:
        if not 0 < fpr_limit <= 1:
            msg = f"fpr_limit must be in (0, 1], got {fpr_limit}"
            raise UserError(msg)
        if thresholds < 1:
            msg = f"thresholds must be at least 1, got {thresholds}"
            raise UserError(msg)
        super().__init__(**kwargs)
        self.kind = kind
        self.fpr_limit = fpr_limit
        self.thresholds = thresholds
        self.add_state("maps", default=[], dist_reduce_fx="cat")
        # Bytes with a 0 after each path: processes of a distributed run can only exchange tensors.
        self.add_state("paths", default=[], dist_reduce_fx="cat")

    def update(self, maps: Tensor, image_path: Sequence[str]) -> None:
        """Store the maps ``(N, h, w)`` or ``(N, 1, h, w)`` of the good images and those of the chosen kind."""
        maps = maps.flatten(0, -3).float()
        keep = of_kind(image_path, self.kind)
        # NaN counts as the most anomalous. Maps must be finite: 0 * inf in the interpolation would give NaN.
        self.maps.append(maps[keep].nan_to_num(nan=torch.finfo(maps.dtype).max))
        names = b"".join(os.fsencode(image_path[index]) + b"\0" for index in keep)
        self.paths.append(torch.tensor(list(names), dtype=torch.uint8, device=maps.device))

    def compute(self) -> Tensor:
        """Read the ground truth image by image and compute the area; NaN if there is no region."""
        maps, paths = dim_zero_cat(self.maps), dim_zero_cat(self.paths)
        names = [os.fsdecode(name) for name in bytes(paths.tolist()).split(b"\0")[:-1]]
        thresholds = choose_thresholds(_sample(full_size(maps.cpu(), names), len(names)), self.thresholds)
        images = zip(full_size(maps.cpu(), names), map(read_regions, names), strict=True)
        return area_up_to(self.fpr_limit, *spro_curve(images, thresholds)).to(maps.device)


def full_size(maps: Tensor, image_paths: Sequence[str]) -> Iterator[Tensor]:
    """Resize maps ``(N, h, w)`` bilinearly to the size ``(H, W)`` of their images, one at a time."""
    for scores, path in zip(maps, image_paths, strict=True):
        with Image.open(path) as image:  # reads only the header
            width, height = image.size
        yield F.interpolate(scores[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]


def _sample(images: Iterable[Tensor], count: int) -> Tensor:
    """Draw evenly spaced scores from ``count`` maps, or take all if there are at most :data:`SAMPLE`."""
    # One block: many small tensors among large short-lived ones would fragment gigabytes of memory.
    sample, end = torch.empty(SAMPLE), 0
    for scores in images:
        step = -(-scores.numel() * count // SAMPLE)
        part = scores.flatten()[::step]
        sample[end : end + len(part)] = part
        end += len(part)
    return sample[:end]


class SPRO(AnomalibMetric, _SPRO):
    """Area under the curve of saturated per-region overlap, for MVTec LOCO AD (Bergmann et al., 2022).

    Each ground truth channel saturates at the area given in its category's ``defects_config.json``. Both are found from
    the path of the test image, so the data set must keep its original folders. Maps are resized bilinearly to the size
    of their images.

    Maps are stored at the model's size with 4 bytes per pixel: 131 MB for 500 maps of 256 x 256. Computing the metric
    takes a sample of at most 2^24 full-size scores, and ground truth and full-size map of one image at a time. The
    curve is exact at ``thresholds`` scores, which are densest among the highest scores, and linear in between.

    Args:
        kind: Kind of anomaly to count beside the good images, ``structural`` or ``logical``; ``None`` counts both
            together. The data set's overall score is the mean of the two kinds.
        fpr_limit: Largest false positive rate, in ``(0, 1]``; the area is divided by it.
        thresholds: Largest number of scores at which the curve is computed.
        **kwargs: Arguments of anomalib's metrics: ``fields``, ``prefix``, ``strict``.

    Raises:
        ValueError: If a number is out of range.
    """

    default_fields = ("anomaly_map", "image_path")


def loco_metrics() -> list[AnomalibMetric]:
    """Image AUROC and sPRO for structural and for logical anomalies, to be used beside those over both kinds.

    The metrics are logged as ``structural_image_AUROC``, ``logical_image_AUROC``, ``structural_pixel_SPRO`` and
    ``logical_pixel_SPRO``.
    """
    kinds: tuple[AnomalyKind, ...] = ("structural", "logical")
    return [
        *(KindAUROC(kind, strict=False) for kind in kinds),
        *(SPRO(kind=kind, prefix=f"{kind}_pixel_", strict=False) for kind in kinds),
    ]
