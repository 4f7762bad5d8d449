# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""ROC, precision-recall and PRO curves, reduced to a few points of the exact curves."""

import cv2
import numpy as np
import numpy.typing as npt

from anomalib_plugins.benchmark.predictions import Predictions

PRO_LIMIT = 0.3  # largest false positive rate of AUPRO

Floats = npt.NDArray[np.floating]
Curve = tuple[list[float], list[float]]


def thresholds(anomalous: Floats, normal: Floats, count: int) -> Floats:
    """Choose about ``count`` thresholds from sorted scores, half from each class, in descending order.

    They are evenly spaced by rank and denser at the top. A smaller class contributes all of its scores.
    """
    chosen = []
    for scores in (anomalous, normal):
        ranked, most = scores[::-1], count // 2
        if len(ranked) > most:
            even = np.linspace(0, 1, most // 2)
            # Among 10^7 normal pixels, the highest thousand decide where the curve rises.
            dense = np.geomspace(1 / len(ranked), 1, most - most // 2)
            ranked = ranked[(np.concatenate([even, dense]) * (len(ranked) - 1)).round().astype(np.int64)]
        chosen.append(ranked)
    return np.unique(np.concatenate(chosen))[::-1]


def rates(scores: Floats, target: npt.NDArray[np.bool_], points: int) -> tuple[Floats, Floats, Floats] | None:
    """Compute false positive rate, true positive rate and precision at chosen thresholds, the highest first.

    Before them stands the point where nothing is found, with the precision of the first threshold. NaN is the most
    anomalous score, as in NumPy's order. If one class is missing there are no rates.
    """
    anomalous, normal = np.sort(scores[target]), np.sort(scores[~target])
    if not (len(anomalous) and len(normal)):
        return None
    at = thresholds(anomalous, normal, points)
    true, false = (len(each) - np.searchsorted(each, at) for each in (anomalous, normal))
    precision = true / (true + false)
    start = np.zeros(1)
    return (
        np.concatenate([start, false / len(normal)]),
        np.concatenate([start, true / len(anomalous)]),
        np.concatenate([precision[:1], precision]),
    )


def pro(maps: Floats, masks: npt.NDArray[np.bool_], points: int) -> Curve | None:
    """Compute false positive rate and mean overlap with the connected regions of the masks, up to `PRO_LIMIT`.

    NaN is the most anomalous. There is no curve if no pixel or every pixel is defective.
    """
    if not masks.any() or masks.all():
        return None
    normal = np.sort(maps[~masks])
    at = thresholds(np.sort(maps[masks]), normal, points)
    rate = (len(normal) - np.searchsorted(normal, at)) / len(normal)
    overlaps = []
    for scores, mask in zip(maps, masks, strict=True):
        number, labels = cv2.connectedComponents(mask.astype(np.uint8))
        for region in range(1, number):
            inside = np.sort(scores[labels == region])
            overlaps.append(1 - np.searchsorted(inside, at) / len(inside))
    x, y = np.concatenate([[0], rate]), np.concatenate([[0], np.mean(overlaps, axis=0)])
    inside_limit = x <= PRO_LIMIT
    return _curve(np.append(x[inside_limit], PRO_LIMIT), np.append(y[inside_limit], np.interp(PRO_LIMIT, x, y)))


def curves_of(predictions: Predictions, points: int = 128) -> dict[str, Curve]:
    """Compute all curves that the predictions of a job allow: about so many values of x and y, by name."""
    curves: dict[str, Curve] = {}
    levels = {"image": (predictions.scores, predictions.labels)}
    if predictions.maps is not None and predictions.masks is not None:
        levels["pixel"] = (predictions.maps, predictions.masks)
        if overlap := pro(*levels["pixel"], points):
            curves["pro"] = overlap
    for level, (scores, target) in levels.items():
        if found := rates(scores, target, points):
            false, true, precision = found
            curves |= {f"{level}_roc": _curve(false, true), f"{level}_pr": _curve(true, precision)}
    return curves


def _curve(x: Floats, y: Floats) -> Curve:
    """Round the values of a curve to four digits, enough for a plot."""
    return [float(f"{value:.4g}") for value in x], [float(f"{value:.4g}") for value in y]
