# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import math

import numpy as np
import pytest

from anomalib_plugins.report.groups import (
    Comparison,
    against_best,
    groups_of,
    metrics_of,
    sentence,
    sentences,
)
from anomalib_plugins.report.tables import MEAN, category_rows, mean_rows

METRICS = ["image_auroc", "pixel_auroc", "aupro", "pixel_ap"]


def group(rows):
    [only] = groups_of(rows)
    return only


def test_a_mean_is_over_categories_of_means_over_seeds(row):
    rows = [row(category="a", seed=seed, value=value) for seed, value in enumerate((0.5, 0.7, 0.9))]
    both = group([*rows, row(category="b", value=0.1)])
    assert both.mean("aupro", both.places) == pytest.approx((0.7 + 0.1) / 2)


def test_a_deviation_is_that_of_complete_seeds(row):
    values = {0: (0.5, 0.6), 1: (0.7, 0.9), 2: (0.4, 0.2)}
    rows = [row(category=c, seed=s, value=v) for s, pair in values.items() for c, v in zip("ab", pair, strict=True)]
    both = group([*rows, row(category="a", seed=3, value=1.0)])
    expected = np.std([np.mean(pair) for pair in values.values()], ddof=1)
    assert both.deviation("aupro", both.places) == pytest.approx(expected)
    assert math.isnan(group(rows[:2]).deviation("aupro", both.places))


def test_models_of_several_schedules_are_told_apart(row):
    groups = groups_of([row("Padim"), row("Slsg", schedule="3 min"), row("Slsg", schedule="1 min")])
    assert [each.name for each in groups] == ["Slsg, 3 min, 128 px", "Slsg, 1 min, 128 px", "Padim"]
    assert [each.is_ours for each in groups] == [True, True, False]


def test_models_of_other_arguments_are_told_apart(row):
    groups = groups_of([row("Slsg", options=f'{{"steps": {steps}}}') for steps in (1, 2)])
    assert [each.name for each in groups] == ["Slsg steps=1", "Slsg steps=2"]


def test_metrics_of_one_data_set_are_shown_where_there_are_any(row):
    assert metrics_of([row()]) == METRICS
    found = metrics_of([row(), row(logical_spro="0.5", spro="0.4", structural_spro="")])
    assert found == [*METRICS, "spro", "logical_spro"]


def test_a_comparison_is_on_the_categories_both_have(row):
    ours = group([row("Slsg", "a", value=0.5), row("Slsg", "b", value=0.9), row("Slsg", "c", value=0.1)])
    padim = group([row("Padim", "a", value=0.6), row("Padim", "b", value=0.6), row("Padim", "d", value=1.0)])
    [first, *_] = against_best(ours, [padim], "MVTecAD", METRICS)
    assert first == Comparison("image_auroc", pytest.approx(0.7), pytest.approx(0.6), "Padim", lost=1, categories=2)
    assert first.sign == 1


def test_the_rival_is_the_best_of_those_with_most_categories(row):
    ours = group([row("Slsg", "a"), row("Slsg", "b")])
    rivals = groups_of([
        row("Padim", "a", value=1.0),
        *(row("Cfa", category, value=0.6) for category in "ab"),
        *(row("Draem", category, value=0.7) for category in "ab"),
    ])
    assert {each.rival for each in against_best(ours, rivals, "MVTecAD", METRICS)} == {"Draem"}


def test_what_is_undefined_is_not_compared(row):
    ours, padim = group([row("Slsg", pixel_ap="nan", aupro="")]), group([row("Padim")])
    assert [each.metric for each in against_best(ours, [padim], "MVTecAD", METRICS)] == ["image_auroc", "pixel_auroc"]
    assert against_best(ours, [padim], "Visa", METRICS) == []


def test_a_sentence_says_first_what_is_lost():
    comparisons = [
        Comparison("image_auroc", 0.9, 0.8, "Padim", 1, 3),
        Comparison("pixel_auroc", 0.71, 0.9, "Cfa", 3, 3),
        Comparison("aupro", 0.5, 0.6, "Cfa", 2, 3),
        Comparison("pixel_ap", 0.50001, 0.5, "Cfa", 0, 3),
    ]
    assert sentence("Slsg", "Visa", comparisons) == (
        "Slsg on Visa loses to anomalib's Cfa in Pixel AUROC 0.710 against 0.900 (behind in 3 of 3 categories), "
        "AUPRO 0.500 against 0.600 (behind in 2 of 3 categories); it ties with anomalib's Cfa in Pixel AP 0.500 "
        "against 0.500 (behind in 0 of 3 categories); it is ahead of anomalib's Padim in Image AUROC 0.900 against "
        "0.800 (behind in 1 of 3 categories)."
    )


def test_losers_come_first(row):
    groups = groups_of([row("Pouta", value=0.95), row("Slsg", value=0.5), row("Padim", value=0.9)])
    found = sentences(groups, METRICS)
    assert [(each["loses"], each["text"].split()[0]) for each in found] == [(True, "Slsg"), (False, "Pouta")]


def test_the_best_mean_is_of_all_categories(row):
    groups = groups_of([row("Slsg", "a", value=1.0), *(row("Padim", category, value=0.6) for category in "ab")])
    rows = mean_rows([*groups, *groups_of([row("Cfa", c, value=0.4) for c in "ab"])], METRICS)
    assert [each["best"]["aupro"] for each in rows] == [False, True, False]
    assert [(each["categories"], each["of"]) for each in rows] == [(1, 2), (2, 2), (2, 2)]


def test_ours_paper_and_difference(row):
    """POUTA prints 98.5 / 97.7 / 58.1 for the screw, and no AUPRO."""
    groups = groups_of([row("Pouta", value=0.9), row("Pouta", "nut", value=0.9)])
    [nut, screw] = category_rows(groups, METRICS, {})
    cells = {metric: (cell["paper"], cell["difference"]) for metric, cell in screw["cells"].items()}
    assert cells["image_auroc"] == pytest.approx((0.985, -0.085))
    assert cells["pixel_ap"] == pytest.approx((0.581, 0.319))
    assert cells["aupro"] == (None, None)
    assert nut["source"] is None


def test_a_category_of_other_data_may_stand_for_a_published_one(row):
    mine = row("Pouta", "my_screw", dataset="mine")
    for alias, paper in (({}, None), ({"my_screw": ("MVTecAD", "screw")}, pytest.approx(0.985))):
        [found] = category_rows(groups_of([mine]), METRICS, alias)
        assert found["cells"]["image_auroc"]["paper"] == paper


def test_means_beside_the_paper_are_over_the_published_categories(row):
    """SLSG prints 89.1 / 97.3 for the screw and 100 / 98.9 for the metal nut."""
    values = {"screw": 0.8, "metal_nut": 0.6, "my_own": 0.1}
    groups = groups_of([row("Slsg", category, value=value) for category, value in values.items()])
    rows = category_rows(groups, METRICS, {})
    assert [each["category"] for each in rows] == ["metal_nut", "my_own", "screw", "mean of the published"]
    image = rows[-1]["cells"]["image_auroc"]
    assert (image["ours"], image["paper"]) == pytest.approx((0.7, 0.9455))
    assert image["difference"] == pytest.approx(0.7 - 0.9455)
    assert rows[-1]["cells"]["aupro"]["paper"] is None


def test_one_published_category_has_no_mean(row):
    groups = groups_of([row("Slsg", "screw"), row("Slsg", "my_own")])
    assert len(category_rows(groups, METRICS, {})) == 2


LOCO = ["breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"]
NO_GRAPH = '{"network": {"use_gcn": false}, "steps": 10}'


@pytest.mark.parametrize(
    ("categories", "options", "paper"),
    [(LOCO, NO_GRAPH, 0.875), (LOCO[1:], NO_GRAPH, None), (LOCO, '{"network": {"use_gcn": false, "k": 7}}', None)],
)
def test_a_mean_that_alone_is_printed_is_of_all_categories(row, categories, options, paper):
    """SLSG prints 0.875 / 0.883 / 0.876 without the graph: image AUROC of all, structural and logical anomalies."""
    results = [
        row("Slsg no graph", each, seed, seed / 10, dataset="MVTecLOCO", options=options, logical_auroc=0.5)
        for each in categories
        for seed in (0, 1)
    ]
    found = category_rows(groups_of(results), [*METRICS, "logical_auroc"], {})
    means = [each["cells"] for each in found if each["category"] == MEAN]
    assert [cells["image_auroc"]["paper"] for cells in means] == ([] if paper is None else [paper])
    for cells in means:
        assert (cells["image_auroc"]["ours"], cells["logical_auroc"]["paper"]) == pytest.approx((0.05, 0.876))
        assert cells["logical_auroc"]["difference"] == pytest.approx(0.5 - 0.876)
        assert cells["pixel_ap"]["paper"] is None
    assert all(cell["paper"] is None for each in found if each["category"] != MEAN for cell in each["cells"].values())


def test_the_best_of_a_category_is_marked(row):
    groups = groups_of([row("Slsg", "a", value=0.8), row("Padim", "a", value=0.9), row("Cfa", "b", value=0.2)])
    rows = category_rows(groups, METRICS, {})
    assert [(each["name"], each["cells"]["aupro"]["best"]) for each in rows] == [
        ("Slsg", False),
        ("Padim", True),
        ("Cfa", False),  # alone
    ]
