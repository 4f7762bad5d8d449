# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""ROC, precision-recall and PRO curves, reduced to a few points of the exact curves."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from anomalib_plugins.benchmark.predictions import Predictions

PRO_LIMIT = 0.3  # largest false positive rate of AUPRO

Floats = npt.NDArray[np.floating]
Curve = tuple[list[float], list[float]]


class Counts(NamedTuple):
    """Rates at each threshold, from the highest to the lowest: first nothing is found, last everything.

    Args:
        positives: True positive rate.
        negatives: False positive rate.
        precision: Precision. Where nothing is found, it is the precision at the next threshold.
    """

    positives: Floats
    negatives: Floats
    precision: Floats


def thresholds(anomalous: Floats, normal: Floats, count: int) -> Floats:
    """Choose about ``2 * count`` scores as thresholds, evenly spaced by rank in either class and denser at the top.

    Args:
        anomalous: Scores of the anomalous class.
        normal: Scores of the normal class.
        count: Number of thresholds per class. A class with fewer scores contributes all of them.

    Returns:
        Thresholds in descending order.
    """
    chosen = []
    for scores in (anomalous, normal):
        ranked = np.sort(scores)[::-1]
        if len(ranked) > count:
            even = np.linspace(0, 1, count // 2)
            # Among 10^7 normal pixels, the highest thousand decide where the curve rises.
            dense = np.geomspace(1 / len(ranked), 1, count - count // 2)
            ranked = ranked[(np.concatenate([even, dense]) * (len(ranked) - 1)).round().astype(np.int64)]
        chosen.append(ranked)
    return np.unique(np.concatenate(chosen))[::-1]


def counts(scores: Floats, target: npt.NDArray[np.bool_], points: int) -> Counts | None:
    """Compute the rates at chosen thresholds.

    Args:
        scores: Scores of any shape. NaN is the most anomalous, as in NumPy's order.
        target: Ground truth of the same shape, true where anomalous.
        points: Approximate number of thresholds, or fewer if there are fewer scores.

    Returns:
        Rates, or ``None`` if one class is missing.
    """
    anomalous, normal = np.sort(scores[target]), np.sort(scores[~target])
    if not (len(anomalous) and len(normal)):
        return None
    at = thresholds(anomalous, normal, points // 2)
    true, false = (len(each) - np.searchsorted(each, at) for each in (anomalous, normal))
    precision = true / (true + false)
    return Counts(
        np.concatenate([[0], true / len(anomalous)]),
        np.concatenate([[0], false / len(normal)]),
        np.concatenate([precision[:1], precision]),
    )


def pro(maps: Floats, masks: npt.NDArray[np.bool_], points: int) -> Curve | None:
    """Compute false positive rate and mean overlap with the connected regions of the masks, up to `PRO_LIMIT`.

    Args:
        maps: Anomaly maps ``(N, H, W)``; NaN is the most anomalous.
        masks: Defective pixels ``(N, H, W)``.
        points: Approximate number of thresholds.

    Returns:
        Curve, or ``None`` if no pixel or every pixel is defective.
    """
    if not masks.any() or masks.all():
        return None
    normal = np.sort(maps[~masks])
    at = thresholds(maps[masks], normal, points // 2)
    rate = (len(normal) - np.searchsorted(normal, at)) / len(normal)
    overlap = np.zeros(len(at))
    regions = 0
    for scores, mask in zip(maps, masks, strict=True):
        number, labels = cv2.connectedComponents(mask.astype(np.uint8))
        for region in range(1, number):
            inside = np.sort(scores[labels == region])
            overlap += 1 - np.searchsorted(inside, at) / len(inside)
        regions += number - 1
    x, y = np.concatenate([[0], rate]), np.concatenate([[0], overlap / regions])
    end = int(np.searchsorted(x, PRO_LIMIT, side="right"))
    y_end = np.interp(PRO_LIMIT, x, y)
    return _curve(np.append(x[:end], PRO_LIMIT), np.append(y[:end], y_end))


def curves_of(predictions: Predictions, points: int = 128) -> dict[str, Curve]:
    """Compute all curves that the predictions of a job allow.

    Args:
        predictions: Predictions of the job.
        points: Approximate number of thresholds.

    Returns:
        Values of x and y for each curve, by name.
    """
    found = {"image": counts(predictions.scores, predictions.labels, points)}
    curves: dict[str, Curve] = {}
    if predictions.maps is not None and predictions.masks is not None:
        found["pixel"] = counts(predictions.maps, predictions.masks, points)
        if overlap := pro(predictions.maps, predictions.masks, points):
            curves["pro"] = overlap
    for level, rates in found.items():
        if rates:
            curves[f"{level}_roc"] = _curve(rates.negatives, rates.positives)
            curves[f"{level}_pr"] = _curve(rates.positives, rates.precision)
    return curves


def _curve(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> Curve:
    """Round the values of a curve to four digits, enough for a plot."""
    rounded: Curve = tuple([float(f"{value:.4g}") for value in axis] for axis in (x, y))  # type: ignore[assignment]
    return rounded
