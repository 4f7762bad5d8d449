# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from anomalib_plugins.synthesis.textures import (
    auto_contrast,
    equalize,
    gamma_contrast,
    invert,
    posterize,
    random_operations,
    sharpen,
    shift_brightness,
    shift_hue_saturation,
    solarize,
    turn,
)


@pytest.fixture
def pixels():
    """Colours between 20 and 219, so that stretching shows."""
    return np.random.default_rng(0).integers(20, 220, (40, 50, 3), dtype=np.uint8)


def test_gamma_raises_each_channel_to_its_own_power(pixels):
    powers = np.array([0.5, 1.0, 1.7])
    result = gamma_contrast(pixels, (powers - 0.5) / 1.5)
    assert np.abs(result - 255 * (pixels / 255) ** powers).max() <= 0.51


def test_brightness_multiplies_then_adds(pixels):
    result = shift_brightness(pixels, (0.75, 0.1))
    assert np.abs(result - np.clip(pixels * 1.1 - 24, 0, 255)).max() <= 0.51


def test_sharpness_equals_pil_inside_the_border(pixels):
    for factor in (0.0, 1.0, 2.5):
        expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(pixels)).enhance(factor)).astype(int)
        difference = sharpen(pixels, (factor / 3,)).astype(int) - expected
        assert np.abs(difference[1:-1, 1:-1]).max() <= 2


def test_hue_and_saturation_shift_as_in_hsv(pixels):
    result = shift_hue_saturation(pixels[:4, :4], (0.8, 0.3)) / 255
    for colour, changed in zip(pixels[:4, :4].reshape(-1, 3) / 255, result.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        expected = colorsys.hsv_to_rgb((hue + 30 / 255) % 1, min(max(saturation - 20 / 255, 0), 1), value)
        assert np.abs(changed - expected).max() < 0.03


def test_solarize_inverts_from_the_threshold_on_half_the_time(pixels):
    assert np.array_equal(solarize(pixels, (0.5, 0.0)), pixels)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(pixels), 80))
    assert np.array_equal(solarize(pixels, (0.49, 0.5)), expected)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_equals_pil(bits, pixels):
    expected = np.asarray(ImageOps.posterize(Image.fromarray(pixels), bits))
    assert np.array_equal(posterize(pixels, ((bits - 1) / 8,)), expected)


def test_invert_and_auto_contrast_equal_pil(pixels):
    assert np.array_equal(invert(pixels, ()), np.asarray(ImageOps.invert(Image.fromarray(pixels))))
    difference = auto_contrast(pixels, ()).astype(int) - np.asarray(ImageOps.autocontrast(Image.fromarray(pixels)))
    assert np.abs(difference).max() <= 1


def test_equalized_values_are_spread_evenly(pixels):
    quartiles = np.quantile(equalize(pixels // 4, ()).reshape(-1, 3), (0.25, 0.5, 0.75), axis=0)
    assert np.abs(quartiles - np.array([[64], [128], [191]])).max() < 8


def test_turned_corners_are_black(pixels):
    assert np.array_equal(turn(pixels, (0.5,)), pixels)
    assert not turn(pixels, (0.0,))[0, 0].any()


def test_three_different_operations_in_every_order():
    order, amounts = random_operations(2000, torch.Generator().manual_seed(0))
    assert all(len(set(numbers)) == 3 for numbers in order)
    counts = np.bincount(np.array(order)[:, 0], minlength=10)
    assert counts.min() > 150
    assert np.array(amounts).shape == (2000, 3, 3)
