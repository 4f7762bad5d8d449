# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import math
from functools import partial

import numpy as np
import pytest

from anomalib_plugins.components.drift import DriftMonitor
from anomalib_plugins.components.normal_scores import NormalScores

from ...refusals import refusals


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


test_impossible_options_are_refused = refusals(
    partial(DriftMonitor, NORMAL),
    ({"window": 1}, "window must be at least 2, got 1"),
    ({"false_warnings": 0.0}, "false_warnings must be a probability between 0 and 1"),
    ({"false_warnings": 1.0}, "false_warnings must be a probability between 0 and 1"),
)
