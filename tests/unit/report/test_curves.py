# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from anomalib_plugins.benchmark.predictions import Predictions
from anomalib_plugins.metrics import AUPRO
from anomalib_plugins.report.curves import PRO_LIMIT, curves_of, pro, rates, thresholds

MANY = 10**6


@pytest.fixture
def scored():
    """2,000 scores with ties, a tenth of them anomalous and mostly higher."""
    generator = np.random.default_rng(0)
    target = generator.random(2000) < 0.1
    return (generator.normal(target * 1.5).round(2).astype(np.float32) * 10, target)


@pytest.fixture
def mapped():
    """Six maps of 32 x 32 with two defects each, the last two images good."""
    generator = np.random.default_rng(1)
    masks = np.zeros((6, 32, 32), bool)
    masks[:4, 3:9, 3:9] = masks[:4, 20:23, 15:30] = True
    return (generator.random(masks.shape) + 0.6 * masks).astype(np.float32), masks


def test_all_points_make_scikit_learns_roc(scored):
    scores, target = scored
    false, true, _ = rates(scores, target, MANY)
    expected = roc_curve(target, scores, drop_intermediate=False)
    assert np.allclose(false, expected[0])
    assert np.allclose(true, expected[1])


def test_all_points_make_scikit_learns_precision(scored):
    scores, target = scored
    _, true, found = rates(scores, target, MANY)
    precision, recall, _ = precision_recall_curve(target, scores)
    assert np.allclose(true, recall[::-1])
    assert np.allclose(found[1:], precision[-2::-1])
    assert found[0] == found[1]  # nothing found has no precision; not 1, as if the first were right
    area = (np.diff(true) * found[1:]).sum()
    assert area == pytest.approx(average_precision_score(target, scores))


def test_few_points_lie_on_the_curve_and_span_its_area(scored):
    scores, target = scored
    false, true, _ = rates(scores, target, 64)
    exact = {
        (round(x, 9), round(y, 9)) for x, y in zip(*roc_curve(target, scores, drop_intermediate=False)[:2], strict=True)
    }
    assert {(round(x, 9), round(y, 9)) for x, y in zip(false, true, strict=True)} <= exact
    assert len(false) <= 66
    assert auc(false, true) == pytest.approx(roc_auc_score(target, scores), abs=2e-3)


def test_pro_has_the_area_of_anomalibs(mapped):
    maps, masks = mapped
    fpr, overlap = AUPRO(fields=("anomaly_map",)).compute_pro(regions_of(masks), torch.from_numpy(maps))
    x, y = pro(maps, masks, MANY)
    assert x[-1] == PRO_LIMIT
    assert np.trapezoid(y, x) == pytest.approx(torch.trapezoid(overlap, fpr).item(), abs=1e-4)


def regions_of(masks):
    """Regions numbered through, by hand: the two rectangles of each of the four images."""
    labels = np.zeros(masks.shape, np.int64)
    for index in range(4):
        labels[index, 3:9, 3:9] = 2 * index + 1
        labels[index, 20:23, 15:30] = 2 * index + 2
    return torch.from_numpy(labels)


def test_few_points_of_pro_lie_on_the_curve_of_a_slow_loop(mapped):
    maps, masks = mapped
    labels = regions_of(masks).numpy()
    exact = []
    for threshold in np.unique(maps):
        found = maps >= threshold
        exact.append((found[~masks].mean(), np.mean([found[labels == region].mean() for region in range(1, 9)])))
    points = np.array(pro(maps, masks, 60)).T[1:-1]
    assert len(points) > 20
    assert np.abs(points[:, None] - np.array(exact)).max(axis=2).min(axis=1).max() < 1e-4


def test_nan_is_the_most_anomalous_pixel(mapped):
    maps, masks = mapped
    high = maps.copy()
    maps[0, :5, :5], high[0, :5, :5] = np.nan, 99
    assert pro(maps, masks, 60) == pro(high, masks, 60)


def test_nan_is_the_most_anomalous():
    false, true, _ = rates(np.array([np.nan, 0.5, 0.2]), np.array([True, False, False]), MANY)
    assert (false[1], true[1]) == (0, 1)


@pytest.mark.parametrize("value", [False, True])
def test_one_class_has_no_curve(value):
    target = np.full(4, value)
    assert rates(np.arange(4.0), target, 10) is None
    assert pro(np.zeros((1, 2, 2)), target.reshape(1, 2, 2), 10) is None


def test_without_maps_there_are_the_images_curves(scored):
    scores, target = scored
    paths = np.array(["a.png"] * len(scores))
    assert set(curves_of(Predictions(scores, target, paths))) == {"image_roc", "image_pr"}


def test_all_curves_start_and_end_where_they_must(mapped):
    maps, masks = mapped
    labels = masks.any(axis=(1, 2))
    curves = curves_of(Predictions(maps.max(axis=(1, 2)), labels, np.array(["a.png"] * 6), maps, masks))
    assert set(curves) == {"image_roc", "image_pr", "pixel_roc", "pixel_pr", "pro"}
    for name in ("image_roc", "pixel_roc"):
        assert [(axis[0], axis[-1]) for axis in curves[name]] == [(0, 1), (0, 1)]
    assert curves["pixel_pr"][1][-1] == pytest.approx(masks.mean(), abs=1e-4)


def test_thresholds_are_denser_among_high_scores():
    chosen = thresholds(np.array([5.0]), np.arange(100_000.0), 200)
    assert (chosen > 99_000).sum() > 25
    assert chosen[-1] == 0
