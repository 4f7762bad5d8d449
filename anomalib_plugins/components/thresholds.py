# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Conversion between a model's raw scores and the scores of anomalib's post-processor."""

import math
from typing import Any, Literal, NamedTuple

import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from torch import Tensor


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
