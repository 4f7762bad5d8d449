# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.components.segmentation import focal_loss
from anomalib_plugins.models.slsg.loss import (
    SegmentationLoss,
    adversarial_loss,
    discriminator_loss,
    inpainting_loss,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def logits(generator):
    return torch.randn(2, 2, 5, 6, generator=generator)


@pytest.fixture
def mask(generator):
    return torch.randint(2, (2, 1, 5, 6), generator=generator).float()


def test_segmentation_loss_is_the_weighted_sum_of_its_terms(logits, mask):
    p, p_aux = logits.softmax(dim=1)[:, 1:], logits.flip(0).softmax(dim=1)[:, 1:]
    expected = 0.4 * focal_loss(p, mask) + 0.6 * (p - mask).abs().mean() + 0.3 * (p_aux - mask).abs().mean()
    assert_close(SegmentationLoss()(logits, logits.flip(0), mask), expected)


def test_each_term_switched_off_leaves_the_sum_of_the_others(logits, mask):
    full = SegmentationLoss()(logits, logits, mask)
    switches = ("use_focal", "use_l1", "use_aux")
    parts = [SegmentationLoss(**{s: s == one for s in switches})(logits, logits, mask) for one in switches]
    assert_close(sum(parts), full)
    for switch, part in zip(switches, parts, strict=True):
        assert part > 0
        assert_close(SegmentationLoss(**{switch: False})(logits, logits, mask), full - part)


def test_segmentation_loss_is_nearly_zero_for_a_right_and_certain_answer(mask):
    logits = torch.cat((1 - mask, mask), dim=1) * 50
    assert SegmentationLoss()(logits, logits, mask) < 1e-6


def test_segmentation_loss_of_half_precision_logits_is_that_of_their_values(logits, mask):
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        actual = SegmentationLoss()(half, half, mask)
    assert_close(actual, SegmentationLoss()(half.float(), half.float(), mask))


def test_adversarial_losses_match_their_closed_forms(generator):
    real, fake = torch.randn(2, 3, 1, 4, 4, generator=generator)
    assert adversarial_loss(fake).item() == pytest.approx(sum((d - 1) ** 2 for d in fake.flatten().tolist()) / 48 / 2)
    expected = sum(d**2 for d in fake.flatten().tolist()) + sum((d - 1) ** 2 for d in real.flatten().tolist())
    assert discriminator_loss(real, fake).item() == pytest.approx(expected / 48 / 2, rel=1e-5)


def test_inpainting_loss_is_the_weighted_sum_of_its_terms(generator):
    reconstruction, aux, target = torch.randn(3, 2, 3, 4, 4, generator=generator)
    expected = 0.25 + 0.8 * (reconstruction - target).abs().mean() + (aux - target).square().mean()
    assert_close(inpainting_loss(torch.tensor(0.25), reconstruction, aux, target), expected)
