# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as TF

from anomalib_plugins.synthesis import colour_jitter
from anomalib_plugins.synthesis.colour import LUMA, ColourChange, adjust_colour, adjust_lists, random_colours


@pytest.fixture
def pictures():
    """Colours so far from 0 and 1 that small changes are not clamped."""
    return 0.3 + 0.4 * torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def change(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    return ColourChange(
        *(torch.tensor([1.0, value])[[0, 1]] for value in (brightness, contrast, saturation)), torch.tensor([0.0, hue])
    )


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_each_factor_equals_torchvision_and_touches_its_image_only(factor, pictures):
    for amounts, adjust in (
        (change(brightness=factor), TF.adjust_brightness),
        (change(contrast=factor), TF.adjust_contrast),
        (change(saturation=factor), TF.adjust_saturation),
    ):
        result = adjust_colour(pictures, amounts)
        assert_close(result[0], pictures[0])
        assert_close(result[1], adjust(pictures[1], factor), atol=2e-3, rtol=0)


def test_hue_keeps_luma_and_grey_and_returns_after_a_full_turn(pictures):
    weights = torch.tensor(LUMA)[:, None, None]
    turned = adjust_colour(pictures, change(hue=0.1))
    assert_close((turned * weights).sum(1), (pictures * weights).sum(1), atol=1e-3, rtol=0)
    assert (turned[1] - pictures[1]).abs().max() > 0.02
    grey = pictures[:, :1].expand(-1, 3, -1, -1)
    assert_close(adjust_colour(grey, change(hue=0.3)), grey, atol=1e-3, rtol=0)
    assert_close(adjust_colour(pictures, change(hue=1.0)), pictures, atol=1e-5, rtol=0)


def test_lists_of_pixels_change_like_images(pictures):
    amounts = random_colours(2, torch.Generator().manual_seed(0), (0.3, 0.3, 0.3, 0.2))
    lists = [picture.flatten(1) for picture in pictures]
    expected = adjust_colour(pictures, amounts).flatten(2)
    assert_close(torch.stack(adjust_lists(lists, amounts)), expected)
    assert adjust_lists([], random_colours(0, None, (0, 0, 0, 0))) == []


def test_jitter_is_reproducible_differs_between_images_and_stays_in_range():
    pictures = torch.rand(1, 3, 16, 16).expand(4, -1, -1, -1)
    first, second = (colour_jitter(pictures, torch.Generator().manual_seed(5), 0.5, 0.5, 0.5, 0.5) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert first.min() >= 0
    assert first.max() <= 1


def test_default_jitter_changes_brightness_by_ten_per_cent_at_most():
    grey = torch.full((500, 3, 2, 2), 0.5)
    factors = colour_jitter(grey, torch.Generator().manual_seed(0)).mean(dim=(1, 2, 3)) / 0.5
    assert 0.9 <= factors.min() < 0.91
    assert 1.09 < factors.max() <= 1.1 + 1e-6


def test_autocast_changes_nothing(images):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = colour_jitter(images, torch.Generator().manual_seed(0), hue=0.1)
    assert torch.equal(cast, colour_jitter(images, torch.Generator().manual_seed(0), hue=0.1))
