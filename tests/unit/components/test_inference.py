# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.data import InferenceBatch
from anomalib.data.utils import read_image
from anomalib.post_processing import PostProcessor
from torch.testing import assert_close
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import Resize
from torchvision.transforms.v2.functional import to_pil_image

from anomalib_plugins.components.inference import (
    as_rgb,
    mark_non_finite,
    spread_unusable,
    top_k_score,
    usable,
)

NO_NUMBER = [float("nan"), float("inf"), -float("inf")]
BROKEN = [*NO_NUMBER, 255.0, 1.6, -0.6]


@pytest.fixture
def maps():
    return torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(0))


def test_score_is_the_mean_of_the_largest_pixels_of_a_sort(maps):
    expected = [sum(sorted(m.flatten().tolist())[-100:]) / 100 for m in maps]
    assert_close(top_k_score(maps), torch.tensor(expected))


def test_score_of_a_small_map_is_the_mean_of_all_its_pixels(maps):
    assert_close(top_k_score(maps, k=601), maps.mean(dim=(1, 2, 3)))


def test_finite_images_keep_their_scores_and_maps(maps):
    score, out = mark_non_finite(torch.rand(3, 3, 20, 30), maps.amax(dim=(1, 2, 3)), maps)
    assert torch.equal(out, maps)
    assert torch.equal(score, maps.amax(dim=(1, 2, 3)))


def _post_processor(low, high, threshold):
    post_processor = PostProcessor()
    for level in ("image", "pixel"):
        getattr(post_processor, f"{level}_min").fill_(low)
        getattr(post_processor, f"{level}_max").fill_(high)
        getattr(post_processor, f"_{level}_threshold").fill_(threshold)
    return post_processor


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("low", "high", "threshold"), [(0.0, 1.0, 1.0), (0.0, 1.0, 0.5), (1.0, 1.0, 1.0), (0.2, 2, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_broken_image_is_labelled_anomalous_alone(maps, broken, low, high, threshold, dtype):
    images = torch.rand(3, 3, 20, 30)
    images[1, 2, 5, 7] = broken
    maps = maps.to(dtype)
    score, maps = mark_non_finite(images, 0.1 * top_k_score(maps), 0.1 * maps)
    out = _post_processor(low, high, threshold)(InferenceBatch(pred_score=score, anomaly_map=maps))
    assert out.pred_label.tolist() == [False, True, False]
    assert out.pred_mask.float().mean(dim=(1, 2, 3)).tolist() == [0, 1, 0]
    assert out.pred_score.isfinite().all()


@pytest.mark.parametrize("broken", NO_NUMBER)
def test_a_network_that_computes_no_number_calls_the_image_anomalous(maps, broken):
    score, out = mark_non_finite(torch.rand(3, 3, 20, 30), torch.tensor([0.1, broken, 0.2]), maps, value=5.0)
    assert score.tolist() == pytest.approx([0.1, 5.0, 0.2])
    assert (out[1] == 5).all()


@pytest.mark.parametrize("broken", BROKEN)
def test_no_resizing_steps_over_a_broken_pixel(broken):
    images = torch.rand(2, 3, 64, 64)
    images[0, 0, 0, 0] = broken
    small = Resize((8, 8), antialias=False)
    assert small(images).isfinite().all()
    spread = spread_unusable(images)
    assert small(spread)[0].isnan().all()
    assert torch.equal(spread[1], images[1])


@pytest.mark.parametrize("size", [12, 40, 63, 64])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("pattern", [[0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1]])
def test_no_bicubic_resize_of_usable_pixels_makes_them_unusable(pattern, antialias, size):
    row = torch.tensor(pattern).repeat(32)[:32].float()
    images = ((row[:, None] - row).abs()).expand(1, 3, 32, 32)
    assert usable(Resize((size, size), InterpolationMode.BICUBIC, antialias=antialias)(images)).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_rgba_and_bytes_are_seen_as_files_are(channels, tmp_path):
    pixels = torch.randint(256, (channels, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    to_pil_image(pixels).save(tmp_path / "photo.png")
    expected = read_image(tmp_path / "photo.png", as_tensor=True)
    assert_close(as_rgb(pixels[None])[0], expected)
    assert_close(as_rgb(pixels[None] / 255)[0], expected)


@pytest.mark.parametrize("shape", [(32, 32), (3, 32, 32), (1, 32, 32, 3), (1, 2, 32, 32)])
def test_another_shape_is_refused_in_words(shape):
    with pytest.raises(ValueError, match=r"images must be a tensor of shape \(N, 3, H, W\), got \("):
        as_rgb(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint16, torch.int64])
def test_whole_numbers_of_an_unknown_scale_are_refused_in_words(dtype):
    with pytest.raises(TypeError, match="divide them by the camera's largest value"):
        as_rgb(torch.zeros(1, 3, 32, 32, dtype=dtype))
