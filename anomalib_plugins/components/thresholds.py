# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Between a model's own scores and those that anomalib's post-processor makes of them."""

import math
from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from torch import Tensor


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
    low, high = float(post_processor.image_min), float(post_processor.image_max)
    if not post_processor.enable_normalization or math.isnan(low):
        return label_at
    centre = float(post_processor.image_threshold)
    centre = (low + high) / 2 if math.isnan(centre) else centre
    return centre + (label_at - 0.5) * (high - low)


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
