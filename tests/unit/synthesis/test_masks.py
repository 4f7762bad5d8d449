# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from scipy import ndimage

from anomalib_plugins.synthesis.base import uniform
from anomalib_plugins.synthesis.geometry import rotate
from anomalib_plugins.synthesis.masks import (
    LOGICAL_STYLE,
    STRUCTURAL_STYLE,
    MaskStyle,
    areas,
    perlin_masks,
    perlin_noise,
    place_masks,
    rectangle_masks,
    scratch_masks,
)

SIX_OCTAVES = MaskStyle(octaves=6, threshold=0.5, rectangles=1, side=(0.1, 0.2))


@pytest.mark.parametrize(
    ("style", "accepted", "area", "blobs"),
    [(SIX_OCTAVES, 0.95, 0.050, 27), (STRUCTURAL_STYLE, 0.90, 0.054, 4.3), (LOGICAL_STYLE, 0.88, 0.108, 2.2)],
)
def test_statistics_of_perlin_masks(style, accepted, area, blobs):
    masks = perlin_masks([style] * 600, (256, 256), torch.Generator().manual_seed(0))
    kept = masks[masks.sum(dim=(1, 2, 3)) >= 49]
    assert len(kept) / 600 == pytest.approx(accepted, rel=0.2)
    assert kept.float().mean().item() == pytest.approx(area, rel=0.2)
    counts = [ndimage.label(mask[0].numpy(), structure=[[1] * 3] * 3)[1] for mask in kept]
    assert sum(counts) / len(counts) == pytest.approx(blobs, rel=0.2)


def test_perlin_masks_are_rotated_noise_above_each_styles_threshold():
    styles, generator = [STRUCTURAL_STYLE, LOGICAL_STYLE, SIX_OCTAVES] * 4, torch.Generator().manual_seed(3)
    masks = perlin_masks(styles, (50, 90), generator)
    generator.manual_seed(3)
    exponents = (uniform((12, 2), generator=generator) * torch.tensor([4, 3, 6] * 4)[:, None]).long()
    noise = perlin_noise((50, 90), 2**exponents, generator)
    rotated = rotate(noise, uniform((12,), -90, 90, generator))
    assert torch.equal(masks, rotated > torch.tensor([0.5, 0.4, 0.5] * 4)[:, None, None, None])
    assert (areas(masks) > 0).sum() > 6


def test_one_rectangle_has_the_sides_of_its_style():
    style = MaskStyle(octaves=1, threshold=0.5, rectangles=1, side=(0.15, 0.50))
    for mask in rectangle_masks([style] * 200, (100, 200), torch.Generator().manual_seed(0))[:, 0]:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert 15 <= height <= 50
        assert 30 <= width <= 100
        assert mask.sum() == height * width


def test_several_rectangles_are_drawn_but_not_more_than_allowed():
    style = MaskStyle(octaves=1, threshold=0.5, rectangles=4, side=(0.02, 0.03))
    masks = rectangle_masks([style] * 300, (200, 200), torch.Generator().manual_seed(0))
    counts = {ndimage.label(mask[0].numpy())[1] for mask in masks}
    assert counts == {1, 2, 3, 4}


@pytest.mark.parametrize(("size", "width"), [((256, 256), 4), ((128, 128), 2), ((96, 300), 4)])
def test_scratches_are_thin_and_of_any_length(size, width):
    masks = scratch_masks(200, size, torch.Generator().manual_seed(0))
    assert masks.shape == (200, 1, *size)
    assert torch.equal(masks, scratch_masks(200, size, torch.Generator().manual_seed(0)))
    thickest = [ndimage.distance_transform_edt(mask[0]).max() for mask in masks.numpy()]
    assert max(thickest) <= width + 2  # where a line turns or meets another one
    assert sorted(thickest)[100] <= width / 2 + 1
    assert len(set(areas(masks).tolist())) > 50
    assert areas(masks).float().quantile(0.9) > 5 * areas(masks).float().quantile(0.1)


def test_masks_are_redrawn_only_where_the_object_was_missed():
    foreground = torch.zeros(3, 1, 40, 40, dtype=torch.bool)
    foreground[:, :, :, :20] = True
    calls: list[list[int]] = []

    def draw(which):
        calls.append(which.tolist())
        masks = torch.zeros(len(which), 1, 40, 40, dtype=torch.bool)
        hits = [number != 1 or len(calls) == 4 for number in which.tolist()]
        for mask, hit in zip(masks, hits, strict=True):
            mask[:, 10:20, 10:30] = bool(hit)
        return masks

    masks = place_masks(draw, foreground, 49)
    assert calls == [[0, 1, 2], [1], [1], [1]]
    assert (masks.sum(dim=(1, 2, 3)) == 100).all()
    assert (masks <= foreground).all()


def test_an_object_that_is_never_hit_is_ignored_after_twenty_draws():
    calls = []

    def draw(which):
        calls.append(len(which))
        masks = torch.zeros(len(which), 1, 32, 32, dtype=torch.bool)
        masks[..., 10:20, 10:20] = True
        return masks

    masks = place_masks(draw, torch.zeros(2, 1, 32, 32, dtype=torch.bool), 49)
    assert calls == [2] * 21
    assert (masks.sum(dim=(1, 2, 3)) == 100).all()


def test_draws_that_are_always_empty_end_with_the_middle_of_the_image():
    everywhere = torch.ones(2, 1, 33, 60, dtype=torch.bool)
    masks = place_masks(lambda which: torch.zeros_like(everywhere[which]), everywhere, 1)
    assert masks[..., 11:22, 20:40].all()
    assert masks.sum() == 2 * 11 * 20
