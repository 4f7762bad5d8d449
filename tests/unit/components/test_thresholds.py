# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import math

import numpy as np
import pytest
import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anomalib_plugins.components.thresholds import mistakes, pred_scores, raw_threshold, three_sigmas

SCORES = torch.linspace(-30, 30, 241) + 0.0137  # no threshold


def post_processor(low, high, threshold, **options):
    made = PostProcessor(**options)
    for name, value in (("image_min", low), ("image_max", high), ("_image_threshold", threshold)):
        getattr(made, name).copy_(torch.tensor(float(value)))
    return made


@settings(max_examples=60, deadline=None)
@given(
    low=st.integers(-9, 0),
    width=st.integers(0, 9),
    threshold=st.one_of(st.integers(-9, 9), st.just(math.nan)),
    sensitivity=st.sampled_from([0.25, 0.5, 0.75]),
    normalization=st.booleans(),
)
def test_what_is_above_is_what_the_post_processor_calls_a_defect(low, width, threshold, sensitivity, normalization):
    options = {"image_sensitivity": sensitivity, "enable_normalization": normalization}
    post = post_processor(low, low + width, threshold, **options)
    if width == 0:  # all scores of validation were equal: they are cut to 0, 0.5 and 1
        post.image_sensitivity = 0.5
    labels = post(InferenceBatch(pred_score=SCORES, anomaly_map=None)).pred_label
    assert torch.equal(labels, raw_threshold(post) < SCORES)


@pytest.mark.parametrize("none", [None, nn.Identity(), PostProcessor(enable_thresholding=False)])
def test_without_a_threshold_it_is_infinite(none):
    assert raw_threshold(none) == math.inf


def test_before_validation_it_is_that_of_raw_scores():
    post = PostProcessor(image_sensitivity=0.3)
    assert raw_threshold(post) == pytest.approx(0.7)
    assert torch.equal(pred_scores(post, SCORES), SCORES)


def test_predictions_have_the_threshold_at_a_half_and_end_at_0_and_1():
    said = pred_scores(post_processor(0, 10, 4), torch.tensor([-9.0, 4.0, 5.0, 99.0]))
    assert said.tolist() == pytest.approx([0, 0.5, 0.6, 1])


def test_mistakes_at_a_threshold_that_knows_no_part_it_judges():
    good, bad = np.array([1.0, 2, 3, 4, 100]), np.array([3.0, 50, 1e6, math.nan])
    # 100 is rejected only by the threshold of the other four, 6.4; all five together have one above 150.
    assert three_sigmas(good[:-1]) == pytest.approx(2.5 + 3 * math.sqrt(5 / 3))
    assert three_sigmas(torch.tensor(good)) > 150
    order = np.random.default_rng(0).permutation(9)
    labels = np.repeat([False, True], (5, 4))[order]
    assert mistakes(np.concatenate([good, bad])[order], labels) == (0.2, 0.5)


@pytest.mark.parametrize(
    ("good", "bad", "known"), [(2, 3, (False, False)), (3, 0, (True, False)), (3, 1, (True, True))]
)
def test_mistakes_are_unknown_without_parts_to_count(good, bad, known):
    shares = mistakes(np.arange(good + bad), np.repeat([False, True], (good, bad)))
    assert tuple(not math.isnan(share) for share in shares) == known
