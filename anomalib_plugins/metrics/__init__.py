# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Metrics on raw anomaly scores, and the evaluator that feeds them."""

from .evaluator import RawScoreEvaluator, RawScoreUpdate, default_evaluator, threshold_free_metrics, with_raw_scores
from .loco import KindAUROC
from .ranking import AUPRO, AUROC, AveragePrecision
from .spro import SPRO, loco_metrics

__all__ = [
    "AUPRO",
    "AUROC",
    "SPRO",
    "AveragePrecision",
    "KindAUROC",
    "RawScoreEvaluator",
    "RawScoreUpdate",
    "default_evaluator",
    "loco_metrics",
    "threshold_free_metrics",
    "with_raw_scores",
]
