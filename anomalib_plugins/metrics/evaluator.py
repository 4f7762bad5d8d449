# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Evaluator that computes threshold-free metrics on raw scores, before post-processing changes them."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from anomalib.metrics import AnomalibMetric, Evaluator, F1Score
from lightning.pytorch import Callback, LightningModule, Trainer

from .ranking import AUPRO, AUROC, AveragePrecision

logger = logging.getLogger(__name__)

THRESHOLDED_FIELDS = {"pred_label", "pred_mask"}

CHANCE = 0.6  # image AUROC below which a model hardly separates good from bad images; random guessing reaches 0.5

LEARNED_NOTHING = (
    "image AUROC %.2f: this model hardly tells good from bad. Train longer, which matters most if a limit cut the "
    "schedule; try a larger image_size; and check the photos: anomalib-plugins check FOLDER"
)


class RawScoreEvaluator(Evaluator):
    """Evaluator that updates threshold-free test metrics before post-processing and all others after it.

    anomalib's post-processor normalises the scores of a test batch and clamps them to ``[0, 1]``. Scores outside the
    validation range become ties, which changes AUROC, AP and AUPRO. Metrics that read ``pred_label`` or ``pred_mask``
    need the post-processor. All others are updated by the callback :attr:`raw_scores`, which must run before it. Models
    of this package order it with :func:`with_raw_scores`. For any other model, pass it to the engine:
    ``Engine(callbacks=[evaluator.raw_scores])``.

    Metrics whose fields never occur, such as pixel metrics without masks, are left out of the results with a warning.

    Args:
        val_metrics: Validation metrics. Scores are raw there and labels are not predicted.
        test_metrics: Test metrics.
        compute_on_cpu: Whether to keep scores and maps in CPU memory if there is only one device.
    """

    def __init__(
        self,
        val_metrics: AnomalibMetric | Sequence[AnomalibMetric] | None = None,
        test_metrics: AnomalibMetric | Sequence[AnomalibMetric] | None = None,
        compute_on_cpu: bool = True,
    ) -> None:
        super().__init__(val_metrics, test_metrics, compute_on_cpu)
        self.raw_scores = RawScoreUpdate(self)
        self._raw_scores_attached = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that :attr:`raw_scores` is among the callbacks and warn before a test without it."""
        super().setup(trainer, pl_module, stage)
        self._raw_scores_attached = self.raw_scores in trainer.callbacks
        if stage == "test" and not self._raw_scores_attached:
            logger.warning(
                "AUROC, AP and AUPRO are computed on post-processed scores, where ties can replace ranks. "
                "Pass Engine(callbacks=[evaluator.raw_scores]) to compute them on raw scores.",
            )

    def test_metrics_on(self, thresholded: bool) -> Iterator[AnomalibMetric]:
        """Test metrics that need predicted labels or masks if ``thresholded``, else those that do not."""
        return (
            metric
            for metric in self.test_metrics
            if bool(THRESHOLDED_FIELDS.intersection(metric.fields)) == thresholded
        )

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Update the metrics that need post-processed predictions."""
        if not self._raw_scores_attached:
            super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
            return
        for metric in self.test_metrics_on(thresholded=True):
            metric.update(batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that have data; warn about those without, and about a model close to chance."""
        del pl_module
        missing = []
        for metric in self.test_metrics:
            if not metric.update_called:
                missing.append(metric.name)
                continue
            self.log(metric.name, metric)
            if trainer.barebones:  # disables logging, but the results are still needed
                trainer.callback_metrics[metric.name] = trainer.logged_metrics[metric.name] = metric.compute()
            if metric.name == "image_AUROC" and (value := float(metric.compute())) < CHANCE:
                logger.warning(LEARNED_NOTHING, value)
        if missing:
            logger.warning("No ground truth or no prediction for %s: left out of the results.", ", ".join(missing))


class RawScoreUpdate(Callback):
    """Updates the threshold-free metrics of an evaluator; must run before the post-processor."""

    def __init__(self, evaluator: RawScoreEvaluator) -> None:
        self.evaluator = evaluator

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *numbers: int) -> None:
        """Update the threshold-free metrics with raw scores and maps."""
        del trainer, pl_module, outputs, numbers
        for metric in self.evaluator.test_metrics_on(thresholded=False):
            metric.update(batch)


def with_raw_scores(callbacks: Iterable[Callback]) -> list[Callback]:
    """Put the raw-score callback of every :class:`RawScoreEvaluator` before all other callbacks.

    Use it in a model's ``configure_callbacks``: ``return with_raw_scores(super().configure_callbacks())``.
    """
    callbacks = list(callbacks)
    return [callback.raw_scores for callback in callbacks if isinstance(callback, RawScoreEvaluator)] + callbacks


def threshold_free_metrics() -> list[AnomalibMetric]:
    """Image AUROC, and pixel AUROC, AUPRO and average precision: metrics that need no threshold or validation set."""
    pixel = {"fields": ("anomaly_map", "gt_mask"), "prefix": "pixel_", "strict": False}
    return [
        AUROC(fields=("pred_score", "gt_label"), prefix="image_", strict=False),
        AUROC(**pixel),
        AUPRO(**pixel),
        AveragePrecision(**pixel),
    ]


def default_evaluator() -> RawScoreEvaluator:
    """Evaluator with threshold-free metrics on raw scores, and image and pixel F1 of the predicted labels and masks.

    The metrics are logged as ``image_AUROC``, ``pixel_AUROC``, ``pixel_AUPRO``, ``pixel_AveragePrecision``,
    ``image_F1Score`` and ``pixel_F1Score``. There are no validation metrics.
    """
    return RawScoreEvaluator(
        test_metrics=[
            *threshold_free_metrics(),
            F1Score(fields=("pred_label", "gt_label"), prefix="image_", strict=False),
            F1Score(fields=("pred_mask", "gt_mask"), prefix="pixel_", strict=False),
        ],
    )
