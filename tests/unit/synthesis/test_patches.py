# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import itertools
import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_plugins.synthesis import STRUCTURAL
from anomalib_plugins.synthesis.patches import margins, move, paste, patch_shapes, scar_shapes

from .conftest import distinct, seeded

SIZE = (60, 50)


def pasted(image, part):
    result = image.clone()
    for source, target in zip(part.source.tolist(), part.target.tolist(), strict=True):
        result[..., target // image.shape[-1], target % image.shape[-1]] = image[
            ..., source // image.shape[-1], source % image.shape[-1]
        ]
    return result


@settings(max_examples=50, deadline=None)
@given(height=st.integers(32, 400), width=st.integers(32, 400), seed=st.integers(0, 2**31))
def test_patches_have_2_to_15_percent_of_the_image_and_fit_in(height, width, seed):
    shapes = patch_shapes(50, (height, width), generator=seeded(seed))
    assert (shapes >= 1).all()
    assert (shapes <= torch.tensor([height, width])).all()
    free = (shapes < torch.tensor([height, width])).all(dim=1)
    tall, wide = shapes[free].double().T
    assert ((tall - 0.5) * (wide - 0.5) <= 0.15 * height * width).all()
    assert ((tall + 0.5) * (wide + 0.5) >= 0.02 * height * width).all()
    assert ((wide - 0.5) / (tall + 0.5) <= 3.3).all()
    assert ((wide + 0.5) / (tall - 0.5) >= 0.3).all()


def test_scars_are_10_to_25_pixels_high_and_2_to_half_as_wide_at_256_and_in_proportion_elsewhere():
    for side in (64, 256, 512):
        tall, wide = (scar_shapes(5000, (side, side), seeded()).double() * 256 / side).T
        rounding = 128 / side
        assert (tall >= 2 * wide).all(), "a scar is long and thin"
        for lengths, low, high in ((tall, 10, 25), (wide, 2, 12.5)):
            assert low - rounding <= lengths.min() <= low + 0.05 * (high - low) + rounding
            assert high - 0.05 * (high - low) - rounding <= lengths.max() <= high + rounding


@settings(max_examples=50, deadline=None)
@given(height=st.integers(32, 64), stretch=st.floats(1, 300), seed=st.integers(0, 2**31))
def test_scars_fit_in_the_image_however_they_are_turned(height, stretch, seed):
    shapes = scar_shapes(50, (height, int(height * stretch)), seeded(seed))
    reach = margins(shapes, torch.tensor([[45.0, -45.0]]).expand(50, 2))
    assert (shapes + 2 * reach <= height).all()


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), degrees=st.floats(-180, 180))
def test_a_turned_rectangle_stays_within_its_margins_and_keeps_its_area(height, width, degrees):
    part = move((70, 80), (90, 100), (height, width), degrees, (200, 200))
    down, right = margins(torch.tensor([[height, width]]), torch.tensor([[degrees]]))[0].tolist()
    assert 90 - down <= part.target.min() // 200
    assert part.target.max() // 200 < 90 + height + down
    assert 100 - right <= (part.target % 200).min()
    assert (part.target % 200).max() < 100 + width + right
    assert len(part.target.unique()) == len(part.target)
    assert abs(len(part.target) - height * width) <= 2 * (height + width)
    inside = torch.zeros(200, 200)
    inside[70 : 70 + height, 80 : 80 + width] = 1
    assert inside.flatten()[part.source].all()


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), degrees=st.floats(-180, 180))
def test_a_turned_rectangle_is_all_pixels_whose_centre_it_covers(height, width, degrees):
    part = move((30, 20), (40, 50), (height, width), degrees, (100, 100))
    angle = math.radians(degrees)
    expected = {}
    for row, column in itertools.product(range(15, 85), repeat=2):
        down, right = row + 0.5 - 40 - height / 2, column + 0.5 - 50 - width / 2
        y = math.floor(math.cos(angle) * down - math.sin(angle) * right + height / 2)
        x = math.floor(math.sin(angle) * down + math.cos(angle) * right + width / 2)
        if 0 <= y < height and 0 <= x < width:
            expected[row * 100 + column] = (30 + y) * 100 + 20 + x
    assert dict(zip(part.target.tolist(), part.source.tolist(), strict=True)) == expected


def test_paste_matches_a_loop_over_pixels_and_later_moves_hide_earlier_ones():
    image = distinct(1, *SIZE)
    first = move((4, 3), (20, 15), (9, 12), 0.0, SIZE)
    second = move((40, 30), (24, 20), (9, 12), 20.0, SIZE)
    expected = pasted(image, first)
    over = pasted(image, second)
    expected.view(1, 3, -1)[..., second.target] = over.view(1, 3, -1)[..., second.target]
    made = paste(image, [[first, second]])
    assert torch.equal(made.image, expected)
    assert torch.equal(made.mask, (expected != image).any(dim=1, keepdim=True).float())
    assert made.kind.tolist() == [STRUCTURAL]


def test_jitter_changes_each_copy_by_itself_and_nothing_else():
    image = distinct(1, *SIZE)
    moves = [[move((0, 0), (20, 0), (9, 9), 0.0, SIZE), move((0, 0), (20, 20), (9, 9), 0.0, SIZE)]]
    made = paste(image, moves, 0.1, seeded()).image
    first, second, before = made[..., 20:29, :9], made[..., 20:29, 20:29], image[..., :9, :9]
    assert not torch.equal(first, second)
    for copied in (first, second):
        assert 0 < (copied - before).abs().mean() < 0.2
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[20:29, :9] = outside[20:29, 20:29] = False
    assert torch.equal(made[..., outside], image[..., outside])
    assert made.min() >= 0
    assert made.max() <= 1
