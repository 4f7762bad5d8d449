# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from kornia.metrics import ssim
from skimage.metrics import structural_similarity
from torch.testing import assert_close

from anomalib_plugins.components.segmentation import focal_loss
from anomalib_plugins.models.pouta.loss import PoutaLoss, reconstruction_loss, segmentation_loss
from anomalib_plugins.models.pouta.torch_model import Segmentation


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator):
    return torch.rand(2, 3, 24, 20, generator=generator)


@pytest.fixture
def mask(generator):
    return torch.randint(2, (2, 1, 24, 20), generator=generator).float()


@pytest.fixture
def predicted(generator):
    logits = torch.randn(5, 2, 2, 24, 20, generator=generator)
    return Segmentation(torch.rand(2, 3, 24, 20, generator=generator), logits[0], list(logits[1:]))


def test_a_perfect_reconstruction_costs_nothing(images):
    assert_close(reconstruction_loss(images, images), torch.tensor(0.0))


def test_reconstruction_loss_is_the_squared_error_and_what_another_library_calls_dissimilar(predicted, images):
    similarity = [
        structural_similarity(
            one.numpy(), other.numpy(), channel_axis=0, data_range=1.0, full=True,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False, truncate=5 / 1.5,
        )[1][:, 5:-5, 5:-5]
        for one, other in zip(predicted.reconstruction, images, strict=True)
    ]  # fmt: skip
    error = (predicted.reconstruction - images).square().mean()
    ours = ssim(predicted.reconstruction, images, 11)
    assert_close(ours[..., 5:-5, 5:-5], torch.from_numpy(np.stack(similarity)), rtol=0, atol=1e-4)
    assert_close(reconstruction_loss(predicted.reconstruction, images), error + 1 - ours.mean())


def test_segmentation_loss_is_the_sum_of_its_terms(predicted, mask):
    probability = predicted.logits.softmax(dim=1)[:, 1:]
    expected = focal_loss(probability, mask, 4.0) + (probability - mask).abs().mean()
    assert_close(segmentation_loss(predicted.logits, mask), expected)


def test_total_is_the_sum_of_all_terms_with_the_weights_of_the_levels(predicted, images, mask):
    terms = PoutaLoss()(predicted, images, mask)
    levels = [segmentation_loss(logits, mask) for logits in predicted.level_logits]
    expected = (
        reconstruction_loss(predicted.reconstruction, images)
        + segmentation_loss(predicted.logits, mask)
        + 0.4 * levels[0]
        + 0.3 * levels[1]
        + 0.2 * levels[2]
        + 0.1 * levels[3]
    )
    assert_close(terms.total, expected)


def test_gamma_reaches_every_focal_loss(predicted, images, mask):
    terms = PoutaLoss(gamma=1.0)(predicted, images, mask)
    assert_close(terms.prediction, segmentation_loss(predicted.logits, mask, 1.0))
    expected = sum(
        weight * segmentation_loss(logits, mask, 1.0)
        for weight, logits in zip((0.4, 0.3, 0.2, 0.1), predicted.level_logits, strict=True)
    )
    assert_close(terms.levels, expected)


def test_without_supervised_levels_their_loss_is_zero(predicted, images, mask):
    terms = PoutaLoss()(predicted._replace(level_logits=[]), images, mask)
    assert terms.levels == 0
    assert_close(terms.total, terms.reconstruction + terms.prediction)


def test_half_precision_is_summed_in_full(predicted, images, mask):
    half = Segmentation(
        predicted.reconstruction.bfloat16(),
        predicted.logits.bfloat16(),
        [logits.bfloat16() for logits in predicted.level_logits],
    )
    with torch.autocast("cpu", torch.bfloat16):
        actual = PoutaLoss()(half, images, mask)
    full = Segmentation(half.reconstruction.float(), half.logits.float(), [each.float() for each in half.level_logits])
    assert_close(tuple(actual), tuple(PoutaLoss()(full, images, mask)))


@pytest.mark.parametrize("options", [{"gamma": -1.0}, {"lambdas": (0.5, 0.5)}, {"lambdas": (1, 1, 1, -1)}], ids=str)
def test_option_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match="gamma and the four lambdas must be at least 0"):
        PoutaLoss(**options)
