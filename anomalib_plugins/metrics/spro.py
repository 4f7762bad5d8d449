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

from .loco import Kind, KindAUROC, Region, of_kind, read_regions

SAMPLE = 2**24  # full-size pixels among which thresholds are chosen: 64 MiB


def spro_curve(images: Iterable[tuple[Tensor, list[Region]]], thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """False positive rate and mean saturated overlap at each threshold, over all images.

    A region of saturation ``s`` with ``n`` pixels found has the overlap ``min(n / s, 1)`` (Bergmann et al., 2022,
    `doi:10.1007/s11263-022-01578-9 <https://doi.org/10.1007/s11263-022-01578-9>`_). False positives are pixels outside
    all regions of their image.

    Args:
        images: Anomaly map ``(H, W)`` without NaN and regions of that size, image by image.
        thresholds: Ascending scores ``(T,)``; a pixel is found where its score is at least the threshold.

    Returns:
        False positive rate and overlap, both float64 ``(T + 2,)`` and ascending: nothing found, the thresholds from the
        largest on, everything found. The overlap is NaN without regions, the rate where all pixels are defective.
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
    """How many pixels are found at each threshold, from the largest on, and without one: float64 ``(T + 1,)``."""
    missed = np.searchsorted(np.sort(scores.numpy()), thresholds.numpy()[::-1])
    return len(scores) - F.pad(torch.from_numpy(missed).double(), (0, 1))


def area_up_to(limit: float, fpr: Tensor, overlap: Tensor) -> Tensor:
    """Area under a curve up to a false positive rate, divided by that rate.

    Args:
        limit: Largest false positive rate, in ``(0, 1]``.
        fpr: Ascending false positive rates ``(T,)`` from 0 to 1.
        overlap: Overlap at each of them.

    Returns:
        Scalar in ``[0, 1]``; the curve is linear between its points.

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
    """At most ``count`` of the scores, ascending, the closer the higher; all of them where there are no more.

    The ``i``-th highest stands at rank ``(i / count)^2``: half of them in the upper quarter.

    Args:
        scores: Scores ``(P,)`` without NaN.
        count: How many thresholds are wanted.
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
        self, kind: Kind | None = None, fpr_limit: float = 0.05, thresholds: int = 10_000, **kwargs: Any
    ) -> None:
        if not 0 < fpr_limit <= 1:
            msg = f"fpr_limit must be in (0, 1], got {fpr_limit}"
            raise ValueError(msg)
        if thresholds < 1:
            msg = f"thresholds must be at least 1, got {thresholds}"
            raise ValueError(msg)
        super().__init__(**kwargs)
        self.kind = kind
        self.fpr_limit = fpr_limit
        self.thresholds = thresholds
        self.add_state("maps", default=[], dist_reduce_fx="cat")
        # Bytes, each path ended by a 0: processes of a distributed run can exchange nothing but tensors.
        self.add_state("paths", default=[], dist_reduce_fx="cat")

    def update(self, maps: Tensor, image_path: Sequence[str]) -> None:
        """Keep the maps ``(N, h, w)`` or ``(N, 1, h, w)`` of the images that count."""
        maps = maps.flatten(0, -3).float()
        keep = of_kind(image_path, self.kind)
        # Finite, so that no 0 * inf of the interpolation turns a pixel into NaN; NaN is as anomalous as can be.
        self.maps.append(maps[keep].nan_to_num(nan=torch.finfo(maps.dtype).max))
        names = b"".join(os.fsencode(image_path[index]) + b"\0" for index in keep)
        self.paths.append(torch.tensor(list(names), dtype=torch.uint8, device=maps.device))

    def compute(self) -> Tensor:
        """Read the ground truth, image by image, and return the area; NaN where there is no region."""
        maps, paths = dim_zero_cat(self.maps), dim_zero_cat(self.paths)
        names = [os.fsdecode(name) for name in bytes(paths.tolist()).split(b"\0")[:-1]]
        thresholds = choose_thresholds(_sample(full_size(maps.cpu(), names), len(names)), self.thresholds)
        images = zip(full_size(maps.cpu(), names), map(read_regions, names), strict=True)
        return area_up_to(self.fpr_limit, *spro_curve(images, thresholds)).to(maps.device)


def full_size(maps: Tensor, image_paths: Sequence[str]) -> Iterator[Tensor]:
    """Maps ``(N, h, w)``, one at a time, bilinearly resized to their images' ``(H, W)``."""
    for scores, path in zip(maps, image_paths, strict=True):
        with Image.open(path) as image:  # reads no more than the header
            width, height = image.size
        yield F.interpolate(scores[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]


def _sample(images: Iterable[Tensor], count: int) -> Tensor:
    """Evenly spaced scores of ``count`` maps; all of them where they are no more than :data:`SAMPLE`."""
    # One block: small tensors between large ones that come and go would leave gigabytes of holes.
    sample, end = torch.empty(SAMPLE), 0
    for scores in images:
        step = -(-scores.numel() * count // SAMPLE)
        part = scores.flatten()[::step]
        sample[end : end + len(part)] = part
        end += len(part)
    return sample[:end]


class SPRO(AnomalibMetric, _SPRO):
    """Area under the curve of saturated per-region overlap, for MVTec LOCO AD (Bergmann et al., 2022).

    Each ground truth channel is saturated at the area that ``defects_config.json`` of its category states. The path of
    the test image leads to both, so the data must lie as unpacked. Maps are resized to their images, bilinearly.

    It holds the maps at the model's size, 4 bytes a pixel (131 MB for 500 of 256 x 256), and to compute the metric a
    sample of at most 2^24 full-size scores; ground truth and whole full-size maps exist for one image at a time.
    The curve is exact at ``thresholds`` scores, dense among the highest, and linear between them.

    Args:
        kind: Count good images and ``structural`` or ``logical`` anomalies; ``None`` is both together. The data set's
            mean is the mean of the two kinds.
        fpr_limit: Largest false positive rate, in ``(0, 1]``; the area is divided by it.
        thresholds: How many scores the curve is computed at, at most.
        **kwargs: Arguments of anomalib's metrics: ``fields``, ``prefix``, ``strict``.

    Raises:
        ValueError: If a number is out of its range.
    """

    default_fields = ("anomaly_map", "image_path")


def loco_metrics() -> list[AnomalibMetric]:
    """Image AUROC and sPRO of structural and of logical anomalies.

    Logged as ``structural_image_AUROC``, ``logical_image_AUROC``, ``structural_pixel_SPRO`` and ``logical_pixel_SPRO``.

    Returns:
        New metrics for :class:`RawScoreEvaluator`, beside those over both kinds.
    """
    kinds: tuple[Kind, ...] = ("structural", "logical")
    return [
        *(KindAUROC(kind, strict=False) for kind in kinds),
        *(SPRO(kind=kind, prefix=f"{kind}_pixel_", strict=False) for kind in kinds),
    ]
