# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anomalib_plugins.components.gaussians import REGULARISATION, PatchGaussians
from anomalib_plugins.models.pouta.loss import segmentation_loss
from anomalib_plugins.models.sbm_pfam.attention import PositionAttention
from anomalib_plugins.models.slsg.loss import SegmentationLoss

LOGITS = st.floats(-200, 200, width=32)


def slow_loss(logits, mask, focal, l1):
    """Sum of focal and absolute loss in float64, from the equations."""
    anomalous = 1 / (1 + np.exp(logits[:, :1] - logits[:, 1:]))
    right = np.clip(np.where(mask, anomalous, 1 - anomalous), 1e-5, 1 - 1e-5)
    return focal * np.mean(-((1 - right) ** 4) * np.log(right)) + l1 * np.abs(anomalous - mask).mean()


@settings(max_examples=60, deadline=None)
@given(logits=st.lists(LOGITS, min_size=8, max_size=8), mask=st.lists(st.booleans(), min_size=4, max_size=4))
def test_losses_of_any_logits_are_those_of_float64_with_finite_gradients(logits, mask):
    logits = torch.tensor(logits).reshape(1, 2, 2, 2).requires_grad_()
    mask = torch.tensor(mask).reshape(1, 1, 2, 2).float()
    given_, wanted = logits.detach().double().numpy(), mask.numpy()
    ours = (segmentation_loss(logits, mask), SegmentationLoss(use_aux=False)(logits, logits, mask))
    assert ours[0].item() == pytest.approx(slow_loss(given_, wanted, 1, 1), rel=1e-4, abs=1e-6)
    assert ours[1].item() == pytest.approx(slow_loss(given_, wanted, 0.4, 0.6), rel=1e-4, abs=1e-6)
    for loss in ours:
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()


def test_gradients_of_a_loss_are_the_slopes_of_float64():
    rng = np.random.default_rng(0)
    logits, mask = rng.normal(size=(1, 2, 3, 3)), rng.random((1, 1, 3, 3)) > 0.5
    tensor = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    (gradient,) = torch.autograd.grad(segmentation_loss(tensor, torch.from_numpy(mask)), tensor)
    slopes = np.empty_like(logits)
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-6
        slopes[place] = (slow_loss(logits + step, mask, 1, 1) - slow_loss(logits - step, mask, 1, 1)) / 2e-6
    assert_close(gradient, torch.from_numpy(slopes).float(), rtol=1e-3, atol=1e-6)


def test_gradients_of_the_attention_are_right():
    torch.manual_seed(0)
    attention = PositionAttention(3).double()
    attention.scale.data.fill_(0.7)
    assert torch.autograd.gradcheck(attention, torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0])
def test_distances_of_gaussians_are_those_of_float64(offset):
    """Features far from 0 and of different spread, as rectified ones are."""
    rng = np.random.default_rng(0)
    features = offset + rng.normal(size=(60, 12, 2, 2)) * np.geomspace(0.1, 10, 12)[:, None, None]
    gaussians = PatchGaussians()
    for part in torch.from_numpy(features).float().split(7):
        gaussians.add(part)
    gaussians.finish()
    asked = offset + 3 * rng.normal(size=(5, 12, 2, 2))
    found = gaussians(torch.from_numpy(asked).float())[:, 0].double()
    expected = np.empty((5, 2, 2))
    for row, column in np.ndindex(2, 2):
        known = np.float32(features[:, :, row, column]).astype(np.float64)
        inverse = np.linalg.inv(np.cov(known.T) + REGULARISATION * np.eye(12))
        away = np.float32(asked[:, :, row, column]).astype(np.float64) - known.mean(axis=0)
        expected[:, row, column] = np.sqrt(np.einsum("nc,cd,nd->n", away, inverse, away))
    assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=1e-3)
