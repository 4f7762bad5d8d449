# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_plugins.metrics import AUPRO, AUROC, AveragePrecision
from anomalib_plugins.metrics.ranking import auroc, average_precision, confusion_curve

SCORES = st.sampled_from([-1e30, -5.0, 0.0, 1e-30, 0.5, 1.0, 17.0, 18.0, 1e4, 3e38])


@st.composite
def scored_targets(draw):
    """Scores of a wide range with ties, and targets of both classes."""
    scores = draw(st.lists(SCORES, min_size=2, max_size=40))
    target = [1, 0, *draw(st.lists(st.integers(0, 1), min_size=len(scores) - 2, max_size=len(scores) - 2))]
    return torch.tensor(scores), torch.tensor(target)


@given(scored_targets())
@settings(deadline=None)
def test_auroc_equals_scikit_learn(case):
    scores, target = case
    assert auroc(scores, target).item() == pytest.approx(roc_auc_score(target, scores.double()), abs=1e-6)


@given(scored_targets())
@settings(deadline=None)
def test_average_precision_equals_scikit_learn(case):
    scores, target = case
    assert average_precision(scores, target).item() == pytest.approx(
        average_precision_score(target, scores.double()), abs=1e-6
    )


@pytest.mark.parametrize("metric", [auroc, average_precision])
@pytest.mark.parametrize("score", [float("inf"), 1e30])
def test_infinity_is_one_more_large_score(metric, score):
    target = torch.tensor([0, 1, 1, 0])
    assert metric(torch.tensor([1.0, score, score, 2.0]), target) == 1
    assert metric(torch.tensor([score, score, score, score]), target) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0, 1])
def test_auroc_of_one_class_is_undefined(value):
    assert auroc(torch.rand(4), torch.full((4,), value)).isnan()


def test_average_precision_without_anomalies_is_undefined():
    assert average_precision(torch.rand(4), torch.zeros(4)).isnan()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"scores have shape \(3,\), target has \(4,\)"):
        confusion_curve(torch.rand(3), torch.rand(4))


def batch(scores, target):
    """Batch with image scores ``(N,)``, maps ``(N, 4, 4)`` that repeat them, and defects in the left half."""
    maps = scores[:, None, None].expand(-1, 4, 4)
    masks = target[:, None, None].bool() & (torch.arange(4) < 2).expand(len(scores), 4, 4)
    images = torch.zeros(len(scores), 3, 4, 4)
    return ImageBatch(image=images, pred_score=scores, gt_label=target.bool(), anomaly_map=maps, gt_mask=masks)


@pytest.mark.parametrize(("metric", "reference"), [(AUROC, roc_auc_score), (AveragePrecision, average_precision_score)])
def test_batches_on_both_sides_of_one_are_comparable(metric, reference):
    """A sigmoid per batch would put the second batch below the first."""
    rng = np.random.default_rng(0)
    target = torch.tensor([0, 1] * 10)
    scores = torch.tensor(rng.random(20), dtype=torch.float32) + 0.3 * target
    scores[10:] *= 40
    image, pixel = (metric(fields=fields) for fields in (["pred_score", "gt_label"], ["anomaly_map", "gt_mask"]))
    for part in (slice(0, 10), slice(10, 20)):
        for each in (image, pixel):
            each.update(batch(scores[part], target[part]))
    whole = batch(scores, target)
    expected = reference(whole.gt_mask.flatten(), whole.anomaly_map.flatten())
    assert image.compute().item() == pytest.approx(reference(target, scores), abs=1e-6)
    assert pixel.compute().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [AUROC, AveragePrecision, AUPRO])
def test_nan_counts_as_the_most_anomalous(metric):
    values = {}
    for name, best in (("nan", torch.nan), ("inf", torch.inf), ("largest", 10.0)):
        fields = ["anomaly_map", "gt_mask"]
        values[name] = metric(fields=fields)
        values[name].update(batch(torch.tensor([best, 1.0, 2.0, 3.0]), torch.tensor([1, 0, 1, 0])))
        values[name] = values[name].compute().item()
    assert values["nan"] == values["inf"] == values["largest"]


def test_aupro_without_defects_is_undefined():
    metric = AUPRO(fields=["anomaly_map", "gt_mask"])
    metric.update(batch(torch.rand(3), torch.zeros(3)))
    assert metric.compute().isnan()
