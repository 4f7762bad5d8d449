# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Metrics on raw anomaly scores, and the evaluator that feeds them."""

from .evaluator import RawScoreEvaluator, RawScoreUpdate, default_evaluator, threshold_free_metrics, with_raw_scores
from .ranking import AUPRO, AUROC, AveragePrecision

__all__ = [
    "AUPRO",
    "AUROC",
    "AveragePrecision",
    "RawScoreEvaluator",
    "RawScoreUpdate",
    "default_evaluator",
    "threshold_free_metrics",
    "with_raw_scores",
]
