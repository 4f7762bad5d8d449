# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What scores of good parts promise, counted on many sets of them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_plugins.components.normal_scores import DriftMonitor, NormalScores

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
        with pytest.raises(ValueError, match=f"{len(scores)} good parts cannot tell"):
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
    with pytest.raises(ValueError, match=r"by 0.01 of all: 99 can, or take at least 0\.031"):
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


@pytest.mark.parametrize("scores", ["all", "below a threshold", "clipped"])
@pytest.mark.parametrize(("known", "window"), [(10, 16), (60, 32)])
def test_false_warnings_are_no_more_than_promised(scores, known, window):
    rng, trials, promised = np.random.default_rng(0), 300, 0.1
    warned = 0
    for _ in range(trials):
        reference, parts = rng.normal(size=known), rng.normal(size=window)
        threshold = NormalScores(reference).threshold_for(0.3) if scores == "below a threshold" else math.inf
        if scores == "clipped":
            reference, parts = reference.clip(0, 1), parts.clip(0, 1)
        monitor = DriftMonitor(NormalScores(reference, threshold), window, promised)
        warned += (monitor.update(parts) or monitor.finish()) is not None
    assert warned / trials <= promised + 3 * math.sqrt(promised * (1 - promised) / trials)


def parts(shift, count, seed=1):
    return shift + np.random.default_rng(seed).normal(size=count)


NORMAL = NormalScores(parts(0, 60, seed=0))


@pytest.mark.parametrize("shift", [-1.5, 1.5])
def test_scores_that_move_up_or_down_are_told_with_the_first_full_window(shift):
    monitor = DriftMonitor(NORMAL, window=40)
    moved = parts(shift, 40)
    assert [monitor.update(score) for score in moved[:-1]] == [None] * 39
    drift = monitor.update(moved[-1])
    assert drift.parts == 40
    assert drift.now == pytest.approx(np.median(moved))
    assert drift.before == pytest.approx(np.median(NORMAL.scores))
    assert "have moved: their median is" in str(drift)


def test_a_window_is_not_diluted_by_those_before():
    monitor = DriftMonitor(NORMAL, window=40)
    assert monitor.update(parts(0, 4000)) is None
    assert monitor.update(parts(1.5, 40)) is not None


def test_what_is_left_at_the_end_is_looked_at_once():
    monitor = DriftMonitor(NORMAL, window=1000)
    assert monitor.update(parts(1.5, 40)) is None
    assert monitor.finish().parts == 40
    assert monitor.finish() is None


def test_batches_change_nothing():
    together, one_by_one = DriftMonitor(NORMAL, window=40), DriftMonitor(NORMAL, window=40)
    scores = np.concatenate([parts(0, 90), parts(2, 50)])
    found = [drift for score in scores if (drift := one_by_one.update(score))]
    assert together.update(scores) == found[-1]


def test_defects_and_broken_scores_are_left_out():
    monitor = DriftMonitor(NormalScores(NORMAL.scores, threshold=1.0), window=20)
    good = [score for score in parts(0, 200) if score < 1]
    mixed = [each for score in good for each in (2.0, 1.0, np.nan, np.inf, score)]
    assert monitor.update(mixed) is None
    assert monitor.finish() is None
    assert monitor.update([0.9, 3.0] * 20).defects is False


def test_a_whole_window_of_defects_in_a_row_is_told():
    monitor = DriftMonitor(NormalScores(NORMAL.scores, threshold=1.0), window=20)
    assert monitor.update([2.0] * 19) is None
    assert monitor.finish() is None
    assert monitor.update([0.0, *[2.0] * 19]) is None
    drift = monitor.update(2.0)
    assert drift.defects
    assert drift.parts == 20
    assert drift.before == pytest.approx(np.median(NORMAL.scores))
    assert str(drift).startswith("The last 20 parts have all been called defects. Unless they are")


def test_where_good_parts_are_called_defects_as_often_a_row_of_them_is_no_news():
    monitor = DriftMonitor(NormalScores(NORMAL.scores, threshold=NORMAL.scores[1]), window=10)
    assert monitor.update(np.sort(NORMAL.scores[2:])[::5]) is None


def test_where_no_good_part_is_below_the_threshold_there_is_no_monitor():
    with pytest.raises(ValueError, match="none of 2 good parts is below the threshold"):
        DriftMonitor(NormalScores([1.0, 2.0], threshold=1.0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 1}, "window must be at least 2 parts, got 1"),
        ({"false_warnings": 0.0}, "false_warnings must be a probability between 0 and 1"),
        ({"false_warnings": 1.0}, "false_warnings must be a probability between 0 and 1"),
    ],
)
def test_impossible_options_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        DriftMonitor(NORMAL, **options)
