# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.nn import functional as F

from anomalib_plugins.models.slsg.masking import InpaintingMask

from ....refusals import refusals


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_exactly_the_configured_share_of_cells_is_hidden_whole():
    hidden = InpaintingMask().draw_cells(5, 256, 256, _generator()).float()
    cells = F.avg_pool2d(hidden.unsqueeze(1), 8)  # (5, 1, 32, 32)
    assert set(cells.unique().tolist()) == {0, 1}
    assert cells.sum(dim=(1, 2, 3)).tolist() == [round(0.8 * 1024)] * 5


@pytest.mark.parametrize(("cell_size", "mask_ratio"), [(4, 0.8), (16, 0.8), (8, 0.6), (8, 0.9), (8, 0.0), (8, 1.0)])
def test_cell_size_and_share_are_options(cell_size, mask_ratio):
    masking = InpaintingMask(mask_ratio, cell_size, num_large_masks=(0, 0))
    cells = F.avg_pool2d(masking(torch.zeros(2, 3, 64, 64)), cell_size)
    assert cells.sum(dim=(1, 2, 3)).tolist() == [round(mask_ratio * (64 // cell_size) ** 2)] * 2


def test_cells_per_image_instead_of_pixels_per_cell():
    masking = InpaintingMask(cell_size=8, cell_unit="cells")
    cells = F.avg_pool2d(masking.draw_cells(3, 256, 128, _generator()).float().unsqueeze(1), (32, 16))
    assert set(cells.unique().tolist()) == {0, 1}
    assert cells.sum(dim=(1, 2, 3)).tolist() == [round(0.8 * 64)] * 3


def test_all_cells_are_hidden_equally_often():
    hidden = InpaintingMask(mask_ratio=0.5).draw_cells(4000, 32, 32, _generator())[:, ::8, ::8].float()
    assert (hidden.mean(dim=0) - 0.5).abs().max() < 5 * (0.25 / 4000) ** 0.5


@pytest.mark.parametrize(("side", "low", "high"), [(256, 40, 150), (64, 10, 38), (512, 80, 300)])
def test_large_rectangles_have_sides_in_proportion_to_the_image_and_reach_both_bounds(side, low, high):
    hidden = InpaintingMask(num_large_masks=(1, 1)).draw_large(200, side, side, _generator())
    heights, widths = hidden.any(dim=2).sum(dim=1), hidden.any(dim=1).sum(dim=1)
    assert torch.equal(heights * widths, hidden.sum(dim=(1, 2)))
    for sides in (heights, widths):
        assert low <= sides.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < sides.max() <= high


def test_large_rectangles_reach_all_four_borders():
    hidden = InpaintingMask(num_large_masks=(1, 1)).draw_large(1000, 64, 64, _generator())
    assert hidden[:, (0, -1)].any(dim=(0, 2)).all()
    assert hidden[:, :, (0, -1)].any(dim=(0, 1)).all()


def test_one_to_three_large_rectangles_are_equally_likely():
    # Sides of 1 px in a large image practically never overlap: the area counts rectangles.
    masking = InpaintingMask(large_size=(1, 1))
    number = masking.draw_large(900, 32, 512, _generator()).flatten(1).sum(dim=1)[:, None] == torch.tensor([1, 2, 3])
    assert (number.float().mean(dim=0) - 1 / 3).abs().max() < 0.07


def test_mask_is_the_union_of_cells_and_rectangles():
    masking = InpaintingMask()
    generator = _generator(3)
    cells, large = masking.draw_cells(4, 64, 96, generator), masking.draw_large(4, 64, 96, generator)
    mask = masking(torch.zeros(4, 3, 64, 96), _generator(3))
    assert torch.equal(mask[:, 0].bool(), cells | large)


@pytest.mark.parametrize("size", [(32, 32), (33, 75), (256, 100)])
def test_any_image_size_type_and_layout_gets_a_mask_of_its_own(size):
    images = torch.rand(2, 3, *size, dtype=torch.bfloat16)
    mask = InpaintingMask()(images, _generator())
    assert mask.shape == (2, 1, *size)
    assert mask.dtype == images.dtype
    assert set(mask.unique().tolist()) == {0, 1}
    assert not torch.equal(mask[0], mask[1])


def test_same_seed_same_masks_and_the_global_generator_is_left_alone():
    images = torch.zeros(3, 3, 64, 64)
    state = torch.get_rng_state()
    first, second, other = (InpaintingMask()(images, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_torchs_seed_rules():
    images = torch.zeros(3, 3, 64, 64)
    masks = []
    for _ in range(2):
        torch.manual_seed(5)
        masks.append(InpaintingMask()(images))
    assert torch.equal(*masks)


test_an_argument_out_of_range_is_refused = refusals(
    InpaintingMask,
    ({"mask_ratio": 1.1}, r"mask_ratio must be in \[0, 1\], got 1.1"),
    ({"cell_size": 0}, "cell_size must be at least 1, got 0"),
    ({"cell_unit": "px"}, "cell_unit must be one of .*pixels.*cells.* got 'px'"),
    ({"num_large_masks": (3, 1)}, r"num_large_masks must be two numbers, smaller first, .*got \(3, 1\)"),
    ({"num_large_masks": [2]}, r"num_large_masks must be two numbers.* got \(2,\)"),
    ({"large_size": (40, 300)}, r"large_size must be .* in \[1, 256\]; got \(40, 300\)"),
)
