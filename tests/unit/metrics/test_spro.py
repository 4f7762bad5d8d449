# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from PIL import Image
from sklearn.metrics import roc_auc_score

from anomalib_plugins.metrics import SPRO, KindAUROC, RawScoreEvaluator, loco_metrics, spro
from anomalib_plugins.metrics.loco import kind_of, read_defects, read_regions
from anomalib_plugins.metrics.spro import choose_thresholds

from ...refusals import refusals

CONFIG = [
    {"defect_name": "scratch", "pixel_value": 255, "saturation_threshold": 1.0, "relative_saturation": True},
    {"defect_name": "half", "pixel_value": 200, "saturation_threshold": 0.5, "relative_saturation": True},
    {"defect_name": "missing", "pixel_value": 100, "saturation_threshold": 3, "relative_saturation": False},
]
SIZE = (6, 10)  # height, width


def add_image(category, kind, name, channels, size=SIZE):
    """Write a test image and its ground truth channels, in the data set's layout; returns the image's path."""
    path = category / "test" / kind / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(size, np.uint8)).save(path)
    for number, channel in enumerate(channels):
        mask = category / "ground_truth" / kind / name / f"{number:03}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(channel.astype(np.uint8)).save(mask)
    return str(path)


def channel(value, rows, columns, size=SIZE):
    mask = np.zeros(size, np.uint8)
    mask[rows, columns] = value
    return mask


@pytest.fixture
def category(tmp_path):
    folder = tmp_path / "juice_bottle"
    folder.mkdir()
    (folder / "defects_config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture
def images(category):
    """Two good images, two structural ones and two logical ones; overlapping channels among them."""
    return [
        add_image(category, "good", "000", []),
        add_image(category, "good", "001", []),
        add_image(category, "structural_anomalies", "000", [channel(255, slice(0, 2), slice(0, 4))]),
        add_image(
            category,
            "structural_anomalies",
            "001",
            [channel(255, slice(3, 6), slice(2, 9)), channel(200, slice(4, 6), slice(0, 4))],
        ),
        add_image(category, "logical_anomalies", "000", [channel(100, slice(1, 5), slice(1, 9))]),
        add_image(
            category,
            "logical_anomalies",
            "001",
            [channel(100, slice(0, 1), slice(0, 2)), channel(200, slice(2, 4), slice(5, 8))],
        ),
    ]


def score(maps, paths, **arguments):
    metric = SPRO(**arguments)
    for one, path in zip(maps, paths, strict=True):
        size = one.shape[-2:]
        metric.update(ImageBatch(image=torch.zeros(1, 3, *size), anomaly_map=one[None], image_path=[path]))
    return metric.compute().item()


def slow(maps, paths, limit):
    """Every distinct score is a threshold; masks, areas and saturation are read anew from the files."""
    thresholds = sorted({value for one in maps.numpy() for value in one.ravel()}, reverse=True)
    config = {entry["pixel_value"]: entry for entry in CONFIG}
    curve = [(0.0, 0.0)]
    for threshold in thresholds:
        overlaps, false_positives, negatives = [], 0, 0
        for one, path in zip(maps.numpy(), map(Path, paths), strict=True):
            found, defective = one >= threshold, np.zeros(one.shape, bool)
            for file in sorted((path.parents[2] / "ground_truth" / path.parent.name / path.stem).glob("*")):
                mask = np.asarray(Image.open(file))
                entry, area = config[mask.max()], (mask > 0).sum()
                wanted = entry["saturation_threshold"]
                saturation = np.floor(wanted * area) if entry["relative_saturation"] else min(wanted, area)
                overlaps.append(min((found & (mask > 0)).sum() / saturation, 1.0))
                defective |= mask > 0
            false_positives += (found & ~defective).sum()
            negatives += (~defective).sum()
        curve.append((false_positives / negatives, sum(overlaps) / len(overlaps)))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / limit


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("distinct", [4, 1000])
def test_equals_a_slow_computation(images, limit, distinct):
    generator = torch.Generator().manual_seed(distinct)
    maps = torch.randint(0, distinct, (6, *SIZE), generator=generator) - 3.0
    assert score(maps, images, fpr_limit=limit) == pytest.approx(slow(maps, images, limit), abs=1e-6)


@pytest.mark.parametrize("kind", ["structural", "logical"])
def test_a_kind_is_scored_with_the_good_images_alone(images, kind):
    maps = torch.rand(6, *SIZE, generator=torch.Generator().manual_seed(0))
    kept = [index for index, path in enumerate(images) if kind in path or "good" in path]
    expected = slow(maps[kept], [images[index] for index in kept], 0.3)
    assert score(maps, images, kind=kind, fpr_limit=0.3) == pytest.approx(expected, abs=1e-6)


def test_by_hand_a_region_is_found_when_its_saturation_is(category):
    """40 pixels are normal, the first 2 false positives come after 2 of the 3 pixels that saturate the region of 20."""
    image = add_image(category, "logical_anomalies", "0", [channel(100, slice(0, 2), slice(0, 10))])
    scores = torch.zeros(1, *SIZE)
    scores[0, 0, :2] = 9  # overlap 2/3 at FPR 0
    scores[0, 5, :2] = 8  # overlap 2/3 at FPR 0.05
    scores[0, 0, 2:10] = 7  # overlap 1, though 10 of 20 pixels are missing
    assert score(scores, [image]) == pytest.approx(2 / 3)
    assert score(scores, [image], fpr_limit=0.1) == pytest.approx((0.05 * 2 / 3 + 0.05) / 0.1)


def test_by_hand_the_curve_is_cut_between_two_points(category):
    """All 30 normal pixels and the whole region have one score: a diagonal, cut at 0.05."""
    image = add_image(category, "structural_anomalies", "0", [channel(255, slice(0, 3), slice(0, 10))])
    assert score(torch.ones(1, *SIZE), [image]) == pytest.approx(0.025)


def test_a_perfect_map_has_one(images):
    masks = [sum((region.mask for region in read_regions(path)), torch.zeros(SIZE)) for path in images]
    assert score(torch.stack(masks).clamp(max=1), images) == 1


def test_without_saturation_it_is_the_mean_overlap_of_the_channels(images, category):
    """Every second row of everything is found: a straight line up to one point, cut exactly there."""
    whole = [{**entry, "saturation_threshold": 1.0, "relative_saturation": True} for entry in CONFIG]
    (category / "defects_config.json").write_text(json.dumps(whole))
    rows = torch.zeros(SIZE)
    rows[::2] = 1
    masks = [[region.mask for region in read_regions(path)] for path in images]
    normal = torch.stack([~sum(each, torch.zeros(SIZE)).bool() for each in masks])
    overlap = np.mean([float(rows[mask].mean()) for each in masks for mask in each])
    limit = float((normal * rows).sum() / normal.sum())
    assert score(rows.expand(6, -1, -1), images, fpr_limit=limit) == pytest.approx(overlap / 2)


def test_maps_are_resized_to_their_images(category):
    """A map of 2 x 2 over an image of 40 x 40 whose region is its upper left quarter."""
    size = (40, 40)
    mask = channel(255, slice(0, 20), slice(0, 20), size)
    image = add_image(category, "structural_anomalies", "0", [mask], size)
    small = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    full = torch.nn.functional.interpolate(small[None], size, mode="bilinear")[0]
    assert score(small, [image]) == pytest.approx(slow(full, [image], 0.05), abs=1e-4)
    assert score(small, [image]) > 0.7


def test_few_thresholds_come_close_to_all(images):
    maps = torch.rand(6, *SIZE, generator=torch.Generator().manual_seed(1))
    exact = slow(maps, images, 0.3)
    assert score(maps, images, fpr_limit=0.3, thresholds=90) == pytest.approx(exact, abs=0.02)


def test_a_sample_of_the_pixels_gives_thresholds(images, monkeypatch):
    maps = torch.rand(6, *SIZE, generator=torch.Generator().manual_seed(1))
    exact = slow(maps, images, 0.3)
    monkeypatch.setattr(spro, "SAMPLE", 100)
    assert score(maps, images, fpr_limit=0.3) != pytest.approx(exact, abs=1e-6)
    assert score(maps, images, fpr_limit=0.3) == pytest.approx(exact, abs=0.02)


def test_thresholds_are_denser_among_high_scores():
    chosen = choose_thresholds(torch.arange(10_000.0), 100)
    assert chosen[0] == 0
    assert chosen[-1] == 9999
    assert (chosen >= 7500).sum() == 50


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_pixel_that_cannot_be_scored_is_the_most_anomalous(images, value):
    maps = torch.rand(6, *SIZE, generator=torch.Generator().manual_seed(2))
    high = maps.clone()
    maps[0, 3, 3], high[0, 3, 3] = value, 2.0
    assert score(maps, images) == pytest.approx(score(high, images))


def test_batches_and_order_do_not_matter(images):
    maps = torch.rand(6, *SIZE, generator=torch.Generator().manual_seed(3))
    whole = SPRO()
    whole.update(ImageBatch(image=torch.zeros(6, 3, *SIZE), anomaly_map=maps[:, None], image_path=images))
    assert whole.compute().item() == pytest.approx(score(maps.flip(0), images[::-1]))


def test_without_regions_it_is_undefined(images):
    assert np.isnan(score(torch.rand(2, *SIZE), images[:2]))


def test_an_empty_channel_has_nothing_to_find(category):
    image = add_image(category, "logical_anomalies", "0", [np.zeros(SIZE), channel(255, slice(0, 2), slice(0, 2))])
    assert len(read_regions(image)) == 1


def test_split_through_an_evaluator(images):
    """The two kinds beside each other, as scikit-learn and the slow computation have them."""
    scores = torch.tensor([0.2, 0.4, 0.3, 0.1, 0.9, 0.5])
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    maps = torch.rand(6, *SIZE, generator=torch.Generator().manual_seed(4))
    metrics = RawScoreEvaluator(test_metrics=loco_metrics()).test_metrics
    batch = ImageBatch(
        image=torch.zeros(6, 3, *SIZE), anomaly_map=maps, image_path=images, pred_score=scores, gt_label=labels
    )
    for metric in metrics:
        metric.update(batch)
    structural, logical = [0, 1, 2, 3], [0, 1, 4, 5]
    assert {metric.name: metric.compute().item() for metric in metrics} == pytest.approx({
        "structural_image_AUROC": roc_auc_score(labels[structural], scores[structural]),
        "logical_image_AUROC": roc_auc_score(labels[logical], scores[logical]),
        "structural_pixel_SPRO": slow(maps[structural], [images[i] for i in structural], 0.05),
        "logical_pixel_SPRO": slow(maps[logical], [images[i] for i in logical], 0.05),
    })


def test_auroc_without_a_kind_is_that_of_all(images):
    metric = KindAUROC()
    scores, labels = torch.arange(6.0), torch.tensor([0, 0, 1, 1, 1, 1])
    metric.update(ImageBatch(image=torch.zeros(6, 3, 2, 2), pred_score=scores, gt_label=labels, image_path=images))
    assert metric.name == "image_AUROC"
    assert metric.compute() == 1


def test_folders_of_other_data_are_refused():
    assert kind_of("a/test/good/0.png") is None
    with pytest.raises(ValueError, match=r"folder 'scratch'; MVTec LOCO AD has \['good', 'structural_anoma"):
        kind_of("a/test/scratch/0.png")


def test_missing_ground_truth_is_named(category):
    image = add_image(category, "logical_anomalies", "7", [])
    with pytest.raises(FileNotFoundError, match=r"no ground truth for .*7\.png: expected one PNG per defect in"):
        read_regions(image)


def test_missing_thresholds_are_named(images, category):
    (category / "defects_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"defects_config\.json is missing: sPRO reads saturation"):
        read_regions(images[2])


@pytest.mark.parametrize("text", ["{", "3", '[{"defect_name": "a"}]'])
def test_other_json_is_refused(tmp_path, text):
    path = tmp_path / "defects_config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="must be a list of defects, each with pixel_value"):
        read_defects(path)


@pytest.mark.parametrize("values", [(13, 13), (255, 200)])
def test_unknown_and_mixed_values_are_refused(category, values):
    mask = channel(values[0], slice(0, 1), slice(0, 1)) + channel(values[1], slice(2, 3), slice(0, 1))
    image = add_image(category, "logical_anomalies", "0", [mask])
    with pytest.raises(ValueError, match=r"000\.png holds the values \[\d.*\], expected one of \[100, 200, 255\]"):
        read_regions(image)


test_wrong_options_are_refused = refusals(
    SPRO,
    ({"fpr_limit": 0.0}, r"fpr_limit must be in \(0, 1\], got"),
    ({"fpr_limit": 1.5}, r"fpr_limit must be in \(0, 1\], got"),
    ({"thresholds": 0}, "thresholds must be at least 1, got 0"),
)
