# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Between a model's own scores and those that anomalib's post-processor makes of them."""

import math
from typing import Any, Literal, NamedTuple

import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from torch import Tensor


class Scale(NamedTuple):
    """How anomalib 2.7 maps scores of the model's own: the threshold to 0.5, the range of validation to a width of 1.

    Attributes:
        low: Smallest score of validation.
        high: Its largest.
        centre: What becomes 0.5.
    """

    low: float
    high: float
    centre: float

    @classmethod
    def of(cls, post_processor: PostProcessor, what: Literal["image", "pixel"]) -> "Scale":
        """That of a post-processor's images or pixels; NaN before a validation."""
        low, high, centre = (float(getattr(post_processor, f"{what}_{name}")) for name in ("min", "max", "threshold"))
        return cls(low, high, (low + high) / 2 if math.isnan(centre) else centre)

    def raw(self, shown: float) -> float:
        """The model's own score, of one that predictions show."""
        return self.centre + (shown - 0.5) * (self.high - self.low)

    def shown(self, raw: float) -> float:
        """What predictions show of the model's own score, in ``[0, 1]``."""
        return min(max((raw - self.centre) / (self.high - self.low or 1) + 0.5, 0), 1)


def raw_threshold(post_processor: Any) -> float:
    """The score of the model's own above which an image is called a defect.

    Args:
        post_processor: A model's; without anomalib's there is no threshold.

    Returns:
        Infinity where there is no threshold, as NaN would let nothing be normal.
    """
    if not isinstance(post_processor, PostProcessor) or not post_processor.enable_thresholding:
        return math.inf
    label_at = float(post_processor.normalized_image_threshold)
    scale = Scale.of(post_processor, "image")
    return scale.raw(label_at) if post_processor.enable_normalization and not math.isnan(scale.low) else label_at


def pred_scores(post_processor: PostProcessor, scores: Tensor) -> Tensor:
    """What predictions and exported models say in place of the model's own scores.

    Args:
        post_processor: The model's.
        scores: ``(N,)``.

    Returns:
        ``(N,)``, from 0 to 1 with anomalib's normalisation.
    """
    with torch.no_grad():
        return post_processor(InferenceBatch(pred_score=scores, anomaly_map=None)).pred_score
