# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from anomalib_plugins.components.segmentation import anomaly_probability, conv_bn_relu, focal_loss

from ...refusals import refusals


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def probability(generator):
    return torch.rand(40, generator=generator, dtype=torch.float64) * 0.98 + 0.01


@pytest.fixture
def target(generator):
    return torch.randint(2, (40,), generator=generator).double()


@pytest.mark.parametrize("gamma", [0.0, 2.0, 4.0])
def test_focal_loss_matches_a_plain_loop(probability, target, gamma):
    terms = []
    for p, t in zip(probability.tolist(), target.tolist(), strict=True):
        right = p if t else 1 - p
        terms.append(-((1 - right) ** gamma) * math.log(right))
    assert focal_loss(probability, target, gamma).item() == pytest.approx(sum(terms) / 40)


def test_focal_loss_with_gamma_zero_is_cross_entropy(probability, target):
    assert_close(focal_loss(probability, target, gamma=0), F.binary_cross_entropy(probability, target))


def test_focal_loss_gradient_is_right(probability, target):
    assert torch.autograd.gradcheck(lambda p: focal_loss(p, target), probability.requires_grad_())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
def test_focal_loss_and_its_gradient_are_finite_at_certainty(gamma):
    probability = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = focal_loss(probability, torch.tensor([0.0, 0.0, 1.0, 1.0]), gamma)
    loss.backward()
    assert loss.isfinite()
    assert probability.grad.isfinite().all()


test_focal_loss_refuses = refusals(
    partial(focal_loss, torch.rand(2, 3)),
    ({"target": torch.ones(3)}, r"probability has shape \(2, 3\), target \(3,\)"),
    ({"target": torch.ones(2, 3), "gamma": -1}, "gamma must be >= 0, got -1"),
)


def test_probability_is_the_softmax_share_of_anomalous(generator):
    logits = torch.randn(2, 2, 5, 6, generator=generator)
    assert_close(anomaly_probability(logits), logits.softmax(dim=1)[:, 1:])


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_block_keeps_height_and_width_and_is_never_negative(kernel_size):
    out = conv_bn_relu(3, 5, kernel_size)(torch.randn(2, 3, 9, 6))
    assert out.shape == (2, 5, 9, 6)
    assert out.min() == 0
