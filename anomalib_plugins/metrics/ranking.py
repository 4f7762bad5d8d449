# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Threshold-free metrics that depend only on the rank of scores.

torchmetrics' curves apply a sigmoid to every batch with a score outside ``[0, 1]``: large distances become ties, and
transformed batches are not comparable with others. Here scores may be any number, infinity included; NaN counts as the
most anomalous score, and a metric is NaN instead of 0 where it is undefined because one class is missing.
"""

from typing import Any

import torch
from anomalib import metrics as host
from anomalib.metrics import AnomalibMetric
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from anomalib_plugins.errors import UserError


def confusion_curve(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Count false and true positives at each distinct score, from the most anomalous to the least.

    Args:
        scores: Anomaly scores of any shape; higher is more anomalous.
        target: Ground truth of the same shape, non-zero where anomalous.

    Returns:
        False positives and true positives for ``T`` distinct scores, both float64 ``(T + 1,)`` and starting at 0.

    Raises:
        UserError: If the shapes differ.
    """
    if scores.shape != target.shape:
        msg = f"scores have shape {tuple(scores.shape)}, target has {tuple(target.shape)}"
        raise UserError(msg)
    ranked, order = scores.flatten().sort(descending=True)
    positive = target.flatten()[order] != 0
    last_of_tie = torch.ones_like(positive)
    last_of_tie[:-1] = ranked[1:] != ranked[:-1]
    true_positives = positive.cumsum(0)[last_of_tie]  # (T,)
    false_positives = last_of_tie.nonzero().flatten() + 1 - true_positives
    return tuple(torch.nn.functional.pad(count.double(), (1, 0)) for count in (false_positives, true_positives))


def auroc(scores: Tensor, target: Tensor) -> Tensor:
    """Area under the ROC curve: the share of (anomalous, normal) pairs in the right order, ties counting half.

    It is NaN if one class is missing. Arguments are as in :func:`confusion_curve`.

    Example:
        >>> auroc(torch.tensor([-3.0, 50.0, 51.0, 900.0]), torch.tensor([0, 1, 0, 1]))
        tensor(0.7500)
    """
    false_positives, true_positives = confusion_curve(scores, target)
    pairs = false_positives[-1] * true_positives[-1]
    return (torch.trapezoid(true_positives, false_positives) / pairs).float()


def average_precision(scores: Tensor, target: Tensor) -> Tensor:
    """Average precision: precision weighted by the steps in recall, without interpolation.

    This is AP as in the literature and scikit-learn. The trapezoidal area under the precision-recall curve (anomalib's
    ``AUPR``) interpolates between operating points and differs from it. It is NaN if nothing is anomalous.

    Example:
        >>> average_precision(torch.tensor([-3.0, 50.0, 51.0, 900.0]), torch.tensor([0, 1, 0, 1]))
        tensor(0.8333)
    """
    false_positives, true_positives = confusion_curve(scores, target)
    precision = true_positives[1:] / (true_positives[1:] + false_positives[1:])
    return ((true_positives.diff() * precision).sum() / true_positives[-1]).float()


def nan_is_anomalous(scores: Tensor) -> Tensor:
    """Replace NaN by ``+inf``: a score that could not be computed must never count as normal."""
    return scores.masked_fill(scores.isnan(), torch.inf)


class _RankMetric(Metric):
    """Metric that stores all scores and targets until it is computed."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    target: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Store one batch: scores of any shape and range, and as many targets, non-zero where anomalous."""
        self.scores.append(nan_is_anomalous(scores).flatten())
        self.target.append(target.flatten() != 0)


class _AUROC(_RankMetric):
    def compute(self) -> Tensor:
        return auroc(dim_zero_cat(self.scores), dim_zero_cat(self.target))


class _AveragePrecision(_RankMetric):
    def compute(self) -> Tensor:
        return average_precision(dim_zero_cat(self.scores), dim_zero_cat(self.target))


class AUROC(AnomalibMetric, _AUROC):
    """Area under the ROC curve on scores of any range; see :func:`auroc`."""


class AveragePrecision(AnomalibMetric, _AveragePrecision):
    """Average precision (not trapezoidal AUPR) on scores of any range; see :func:`average_precision`."""


class AUPRO(host.AUPRO):
    """anomalib's per-region overlap up to a false positive rate of 0.3, for scores with NaN; NaN without defects."""

    def compute_pro(self, cca: Tensor, preds: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the curve of anomalib's AUPRO with NaN as the most anomalous score; NaN if there is no region."""
        fpr, pro = super().compute_pro(cca, nan_is_anomalous(preds))
        return fpr, pro if cca.any() else torch.full_like(pro, torch.nan)
