# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from anomalib_plugins.synthesis.geometry import (
    _warp_batch,
    _warp_planes,
    gaussian_blur,
    roll,
    rotate,
    shuffle_tiles,
)


@pytest.fixture
def picture():
    return torch.rand(3, 3, 40, 64, generator=torch.Generator().manual_seed(0))


def test_half_turn_flips_both_axes(picture):
    assert_close(rotate(picture, torch.full((3,), 180.0)), picture.flip(2, 3), atol=1e-4, rtol=0)


def test_mirrors(picture):
    mirror = torch.tensor([[-1, 1], [1, -1], [1, 1]])
    mirrored = rotate(picture, torch.zeros(3), mirror)
    expected = torch.stack((picture[0].flip(2), picture[1].flip(1), picture[2]))
    assert_close(mirrored, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_the_cpu_and_the_other_devices_agree(padding):
    generator = torch.Generator().manual_seed(0)
    smooth = gaussian_blur(torch.rand(4, 3, 60, 100, generator=generator), 2.0)
    matrix = torch.linalg.qr(torch.rand(4, 2, 2, generator=generator))[0]
    assert_close(_warp_planes(smooth, matrix, padding), _warp_batch(smooth, matrix, padding), atol=2e-2, rtol=0)


def test_shift_in_a_circle_is_that_of_torch_image_by_image(picture):
    shift = torch.tensor([[3, -5], [0, 70], [41, 1]])
    expected = [image.roll(amount, dims=(1, 2)) for image, amount in zip(picture, shift.tolist(), strict=True)]
    assert torch.equal(roll(picture, shift), torch.stack(expected))


def test_blur_equals_scipy(picture):
    expected = ndimage.gaussian_filter(picture.numpy(), (0, 0, 1.5, 1.5), mode="mirror", radius=(0, 0, 5, 5))
    assert_close(gaussian_blur(picture, 1.5), torch.from_numpy(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tiles", [(4, 8), (3, 5), (1, 1), (40, 64)])
def test_shuffled_tiles_are_a_permutation_of_the_tiles(picture, tiles):
    shuffled = shuffle_tiles(picture, *tiles, torch.Generator().manual_seed(0))
    assert_close(shuffled.flatten(2).sort(dim=2).values, picture.flatten(2).sort(dim=2).values)
    height, width = 40 // tiles[0], 64 // tiles[1]

    def cut(image):
        pieces = image[:, : tiles[0] * height, : tiles[1] * width].unfold(1, height, height).unfold(2, width, width)
        return sorted(piece.contiguous().numpy().tobytes() for piece in pieces.permute(1, 2, 0, 3, 4).flatten(0, 1))

    for before, after in zip(picture, shuffled, strict=True):
        assert cut(before) == cut(after)


def test_each_image_has_its_own_order():
    same = torch.arange(64.0).view(1, 1, 8, 8).expand(2, -1, -1, -1)
    first, second = shuffle_tiles(same, 4, 4, torch.Generator().manual_seed(0))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("tiles", [(41, 1), (0, 4), (4, 65)])
def test_impossible_tiles_are_refused(picture, tiles):
    with pytest.raises(ValueError, match=f"cannot cut 40 x 64 pixels into {tiles[0]} x {tiles[1]} tiles"):
        shuffle_tiles(picture, *tiles)
