# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import base64
import io

import numpy as np
import pytest
from PIL import Image

from anomalib_plugins.report.pictures import heatmap_of, image_of, mask_of, scale_of


def decode(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")).astype(float)


def test_an_image_is_small_and_keeps_its_shape(tmp_path):
    path = tmp_path / "image.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees, which models do not see
    Image.fromarray(np.full((300, 600, 3), (200, 100, 50), np.uint8)).save(path, exif=exif)
    picture = image_of(path, 100)
    assert picture.ratio == 2
    assert decode(picture.data).shape == (50, 100, 3)
    assert np.allclose(decode(picture.data).mean(axis=(0, 1)), (200, 100, 50), atol=4)


@pytest.mark.parametrize("content", [None, b"no image"])
def test_an_image_that_is_not_there_is_none(tmp_path, content):
    path = tmp_path / "image.png"
    if content:
        path.write_bytes(content)
    assert image_of(path, 100) is None


@pytest.mark.parametrize("shape", [(256, 256), (200, 256), (64, 64), (37, 255)])
def test_a_scratch_of_one_pixel_stays_in_the_mask(shape):
    mask = np.zeros(shape, bool)
    mask[:, 31] = True
    small = decode(mask_of(mask, 96))[..., 0]
    assert max(small.shape) <= 96
    assert ((small == 255).sum(axis=1) == 1).all()


def test_a_good_image_has_no_mask():
    assert mask_of(np.zeros((8, 8), bool), 96) is None


def test_a_heatmap_is_bright_where_the_score_is_high_or_missing():
    scores = np.zeros((64, 64), np.float32)
    scores[:, 32:], scores[:8, :8] = 10, np.nan
    picture = decode(heatmap_of(scores, scale_of(scores), 64))
    colours = picture.sum(axis=2)
    assert picture[40, 48, 0] > picture[40, 48, 2] + 50  # yellow, not the light blue of swapped channels
    assert colours[40, 16] < 100
    assert colours[40, 48] > 500
    assert colours[3, 3] > 400


def test_a_few_extreme_scores_do_not_darken_the_rest():
    scores = np.linspace(0, 1, 100_000)
    scores[:50] = 1e6
    assert scale_of(scores)[1] < 1.01


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_a_map_without_differences_has_a_scale(value):
    low, high = scale_of(np.full((4, 4), value))
    assert high > low
