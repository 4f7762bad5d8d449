# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import logging

import pytest
import torch
from anomalib import LearningType
from anomalib.data import ImageBatch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import AnomalibModule
from lightning.pytorch import Callback, Trainer
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from anomalib_plugins.metrics import RawScoreEvaluator, RawScoreUpdate, default_evaluator, with_raw_scores
from anomalib_plugins.metrics.evaluator import threshold_free_metrics

from ...training import quiet_trainer


class Brightness(nn.Module):
    """Scores an image by its first pixel, and maps by all of them."""

    def forward(self, image):
        return InferenceBatch(pred_score=image[:, 0, 0, 0], anomaly_map=image[:, :1])


class Plain(AnomalibModule):
    """A model as anomalib's own: nothing stands in front of the post-processor."""

    def __init__(self, evaluator):
        super().__init__(pre_processor=False, evaluator=evaluator, visualizer=False)
        self.model = Brightness()

    @property
    def trainer_arguments(self):
        return {}

    @property
    def learning_type(self):
        return LearningType.ONE_CLASS

    def validation_step(self, batch):
        return batch.update(**self.model(batch.image)._asdict())


class Ours(Plain):
    def configure_callbacks(self):
        return with_raw_scores(super().configure_callbacks())


def batches(scale, masks=True, labels=(0, 1), seed=0):
    """Two batches of six 8 x 8 images, defects a bit brighter, values in ``[0, 1.5 * scale]``."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for step in range(2):
        label = torch.tensor(labels * 3)
        defect = label[:, None, None].bool() & (torch.arange(8) < 4).expand(6, 8, 8)
        image = torch.rand(6, 1, 8, 8, generator=generator) + 0.5 * defect[:, None]
        image = scale * (1 + 10 * step) * image.expand(-1, 3, -1, -1)
        result.append(ImageBatch(image=image, gt_label=label, gt_mask=defect if masks else None))
    return result


def reported(model, test, callbacks=()):
    """Metrics of ``test`` after a validation on scores of a much smaller range."""
    trainer = quiet_trainer(callbacks=list(callbacks))
    loader = torch.utils.data.DataLoader
    trainer.validate(model, loader(batches(0.1, seed=5), batch_size=None), verbose=False)
    return trainer.test(model, loader(test, batch_size=None), verbose=False)[0]


def expected(test, score, pixels):
    values = torch.cat([(b.image[:, 0] if pixels else b.image[:, 0, 0, 0]).flatten() for b in test])
    target = torch.cat([(b.gt_mask if pixels else b.gt_label).flatten() for b in test])
    return score(target, values)


@pytest.mark.parametrize("route", ["configure_callbacks", "engine"])
def test_threshold_free_metrics_are_those_of_raw_scores(route):
    evaluator, test = default_evaluator(), batches(100.0)
    result = (
        reported(Ours(evaluator), test)
        if route == "configure_callbacks"
        else reported(Plain(evaluator), test, (evaluator.raw_scores,))
    )
    assert result["image_AUROC"] == pytest.approx(expected(test, roc_auc_score, pixels=False), abs=1e-6)
    assert result["pixel_AUROC"] == pytest.approx(expected(test, roc_auc_score, pixels=True), abs=1e-6)
    assert result["pixel_AveragePrecision"] == pytest.approx(
        expected(test, average_precision_score, pixels=True), abs=1e-6
    )
    assert 0 < result["pixel_AUPRO"] < 1


def test_f1_is_that_of_the_predicted_labels():
    """Everything is far beyond the validation range, hence anomalous: precision 1/2, recall 1."""
    result = reported(Ours(default_evaluator()), batches(100.0))
    assert result["image_F1Score"] == pytest.approx(2 / 3)


def test_post_processed_scores_are_reported_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        result = reported(Plain(default_evaluator()), batches(1e5))
    assert "computed on post-processed scores" in caplog.text
    assert result["image_AUROC"] == pytest.approx(0.5)  # all clamped to 1


def test_without_masks_pixel_metrics_are_absent_with_one_warning(caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        result = reported(Ours(default_evaluator()), batches(1.0, masks=False))
    assert set(result) == {"image_AUROC", "image_F1Score"}
    warnings = [record.message for record in caplog.records if "left out of the results" in record.message]
    assert len(warnings) == 1
    assert not any("``compute`` method" in str(warning.message) for warning in recwarn)  # torchmetrics' own, one each
    assert all(name in warnings[0] for name in ("pixel_AUROC", "pixel_AUPRO", "pixel_AveragePrecision"))


def test_auroc_without_anomalies_is_not_a_number_and_no_reason_to_warn(caplog):
    result = reported(Ours(default_evaluator()), batches(1.0, labels=(0, 0)))
    assert torch.tensor([result["image_AUROC"], result["pixel_AUROC"], result["pixel_AUPRO"]]).isnan().all()
    assert "tells good from bad" not in caplog.text


@pytest.mark.parametrize(("labels", "warned"), [((0, 1), False), ((1, 0), True)])
def test_a_model_no_better_than_chance_is_named_as_such(labels, warned, caplog):
    test = batches(1.0)
    for batch in test:
        batch.gt_label = torch.tensor(labels * 3)  # of the others: the darker ones are called bad
    value = reported(Ours(default_evaluator()), test)["image_AUROC"]
    assert (value < 0.6) == warned
    assert (f"image AUROC {value:.2f}: this model hardly tells good from bad" in caplog.text) == warned


def test_raw_scores_come_first_and_other_evaluators_stay_alone():
    first, evaluator, other = Callback(), default_evaluator(), Evaluator()
    assert with_raw_scores([first, evaluator]) == [evaluator.raw_scores, first, evaluator]
    assert with_raw_scores([first, other]) == [first, other]
    assert isinstance(evaluator.raw_scores, RawScoreUpdate)


def test_metrics_are_split_by_their_fields():
    evaluator = default_evaluator()
    assert {metric.name for metric in evaluator.test_metrics_on(thresholded=True)} == {"image_F1Score", "pixel_F1Score"}
    assert len(list(evaluator.test_metrics_on(thresholded=False))) == 4


def test_barebones_trainers_return_results_too():
    evaluator = RawScoreEvaluator(test_metrics=threshold_free_metrics())
    trainer = Trainer(accelerator="cpu", barebones=True)
    trainer.test(Ours(evaluator), torch.utils.data.DataLoader(batches(1.0), batch_size=None), verbose=False)
    assert trainer.callback_metrics["image_AUROC"] > 0.5
