# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_plugins.components.normal_scores import NormalScores

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(scores=SCORES, asked=st.integers(-6, 6))
def test_rate_counts_the_scores_as_high_and_the_part_itself(scores, asked):
    expected = (1 + sum(each >= asked for each in scores)) / (len(scores) + 1)
    assert NormalScores(scores).false_alarm_rate(asked) == pytest.approx(expected)


def test_a_broken_score_has_the_lowest_rate():
    assert NormalScores(range(9)).false_alarm_rate(np.nan) == pytest.approx(0.1)


@settings(max_examples=200, deadline=None)
@given(scores=SCORES, false_alarms=st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.9]))
def test_threshold_is_the_lowest_score_above_which_rates_are_low_enough(scores, false_alarms):
    normal = NormalScores(scores)
    if (len(scores) + 1) * false_alarms < 1:
        with pytest.raises(ValueError, match=f"{len(scores)} good parts are too few"):
            normal.threshold_for(false_alarms)
        return
    threshold = normal.threshold_for(false_alarms)
    assert normal.false_alarm_rate(threshold + 1e-9) <= false_alarms + 1e-9
    below = [each for each in scores if each < threshold]
    assert not below or normal.false_alarm_rate(max(below) + 1e-9) > false_alarms


@pytest.mark.parametrize("false_alarms", [0.025, 0.1, 0.5])
def test_good_parts_exceed_the_threshold_as_often_as_asked_and_rates_are_as_likely_as_told(false_alarms):
    rng, sets = np.random.default_rng(0), 4000
    known = [NormalScores(each) for each in rng.random((sets, 39))]
    real = np.array([1 - each.threshold_for(false_alarms) for each in known])  # of scores spread evenly from 0 to 1
    assert real.mean() == pytest.approx(false_alarms, abs=4 * real.std() / math.sqrt(sets))
    low, high = known[0].likely_rates(false_alarms)
    assert ((low <= real) & (real <= high)).mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("false_alarms", [0, 1, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(false_alarms):
    with pytest.raises(ValueError, match="false_alarms must be a share between 0 and 1"):
        NormalScores([1.0]).threshold_for(false_alarms)


def test_the_way_out_of_too_few_scores_is_one():
    with pytest.raises(ValueError, match=r"rate of 0.01: use at least 99 or a rate of at least 0\.031"):
        NormalScores(range(32)).threshold_for(0.01)
    assert NormalScores(range(32)).threshold_for(0.031) == 31
    assert NormalScores(range(99)).threshold_for(0.01) == 98


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match=f"need finite scores of good parts, got {len(scores)}"):
        NormalScores(scores)


@pytest.mark.parametrize("threshold", [0.3, math.inf])
def test_a_file_gives_them_back(tmp_path, threshold):
    NormalScores([0.1, 0.7, 1 / 3], threshold).save(tmp_path / "scores.json")
    loaded = NormalScores.load(tmp_path / "scores.json")
    assert loaded.scores.tolist() == [0.1, 1 / 3, 0.7]
    assert loaded.threshold == threshold


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"normal_scores": [], "threshold": 1}', '{"normal_scores": "x"}'])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json does not hold scores of good parts"):
        NormalScores.load(tmp_path / "x.json")


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
def test_the_likely_rate_of_a_threshold_holds_the_true_one(rate):
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = NormalScores(random.random(20), threshold=1 - rate).likely_rates_now()
        held += low <= rate <= high
    assert held / 400 >= 0.9
