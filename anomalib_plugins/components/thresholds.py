# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Conversion between a model's raw scores and the scores of anomalib's post-processor."""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

SIGMAS = 3  # standard deviations between the mean score of good parts and the threshold


class Scale(NamedTuple):
    """Normalisation of raw scores in anomalib 2.7: the threshold becomes 0.5, the validation range gets width 1.

    Attributes:
        low: Smallest score of validation.
        high: Largest score of validation.
        centre: Raw score that becomes 0.5.
    """

    low: float
    high: float
    centre: float

    @classmethod
    def of(cls, post_processor: PostProcessor, what: Literal["image", "pixel"]) -> "Scale":
        """Read the scale of a post-processor for images or pixels; NaN before validation."""
        low, high, centre = (float(getattr(post_processor, f"{what}_{name}")) for name in ("min", "max", "threshold"))
        return cls(low, high, (low + high) / 2 if math.isnan(centre) else centre)

    def raw(self, shown: float) -> float:
        """Convert a score of predictions to the model's raw score."""
        return self.centre + (shown - 0.5) * (self.high - self.low)

    def shown(self, raw: float) -> float:
        """Convert a raw score of the model to the score of predictions, in ``[0, 1]``."""
        return min(max((raw - self.centre) / (self.high - self.low or 1) + 0.5, 0), 1)


def raw_threshold(post_processor: Any) -> float:
    """Raw score above which an image is called a defect; infinity if anomalib's post-processor has no threshold."""
    if not isinstance(post_processor, PostProcessor) or not post_processor.enable_thresholding:
        return math.inf
    label_at = float(post_processor.normalized_image_threshold)
    scale = Scale.of(post_processor, "image")
    return scale.raw(label_at) if post_processor.enable_normalization and not math.isnan(scale.low) else label_at


def pred_scores(post_processor: PostProcessor, scores: Tensor) -> Tensor:
    """Convert raw scores ``(N,)`` to those of predictions and exported models, in ``[0, 1]`` if normalised."""
    with torch.no_grad():
        return post_processor(InferenceBatch(pred_score=scores, anomaly_map=None)).pred_score


def three_sigmas(scores: ArrayLike) -> float:
    """Threshold three standard deviations above the mean score of good parts.

    anomalib takes the highest of their scores, which one good part in so many exceeds by chance.

    Args:
        scores: Scores ``(N,)`` of at least two good parts that the model was not trained on.
    """
    values = np.asarray(scores, dtype=np.float64)
    return float(values.mean() + SIGMAS * values.std(ddof=1))


def mistakes(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Shares of good parts rejected and of defects missed at the threshold of :func:`three_sigmas`.

    The threshold comes from good parts of the test alone, never from a defect, and that of each good part from the
    others (leave-one-out), so no part is judged by a threshold that knows it.

    Args:
        scores: Image scores ``(N,)``; NaN is the most anomalous.
        labels: True for defective parts, ``(N,)``.

    Returns:
        Two shares in ``[0, 1]``. The first is NaN with fewer than three good parts, the second also without defects.
    """
    good, bad = scores[~labels], scores[labels]
    if len(good) < 3:
        return math.nan, math.nan
    rejected = [not score <= three_sigmas(np.delete(good, index)) for index, score in enumerate(good)]
    return float(np.mean(rejected)), float(np.mean(bad <= three_sigmas(good))) if len(bad) else math.nan
