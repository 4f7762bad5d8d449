# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.models.sbm_pfam.jigsaw import Jigsaw, select_orders
from anomalib_plugins.synthesis.geometry import cut_tiles

from ....refusals import refusals


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def hamming(orders):
    """Mean number of places in which two orders differ."""
    pairs = list(itertools.combinations(orders.tolist(), 2))
    return sum(sum(a != b for a, b in zip(*pair, strict=True)) for pair in pairs) / len(pairs)


def test_each_order_is_the_farthest_from_those_before():
    orders = select_orders(4, 6).tolist()

    def distance(order, before):
        return sum(a != b for other in before for a, b in zip(order, other, strict=True))

    for number in range(1, 6):
        before = orders[:number]
        others = [list(x) for x in itertools.permutations(range(4)) if list(x) not in [*before, [0, 1, 2, 3]]]
        assert distance(orders[number], before) == max(distance(other, before) for other in others)


def test_place_t_shows_the_tile_that_the_class_says():
    jigsaw = Jigsaw(orders=4, grey_probability=0)
    images = torch.rand(6, 3, 33, 36, generator=generator())
    shuffled, classes = jigsaw(images, generator(1))
    for image, result, number in zip(images, shuffled, classes, strict=True):
        for place in range(9):
            row, column = divmod(place, 3)
            row_from, column_from = divmod(int(jigsaw.orders[number, place]), 3)
            got = result[:, 11 * row : 11 * row + 11, 12 * column : 12 * column + 12]
            expected = image[:, 11 * row_from : 11 * row_from + 11, 12 * column_from : 12 * column_from + 12]
            assert torch.equal(got, expected)


def test_images_are_resized_to_whole_tiles():
    shuffled, _ = Jigsaw()(torch.full((1, 3, 224, 100), 0.5), generator())
    assert shuffled.shape == (1, 3, 222, 99)
    assert_close(shuffled, torch.full_like(shuffled, 0.5), rtol=0, atol=1e-3)


def test_the_identity_is_class_0_if_included():
    jigsaw = Jigsaw(include_identity=True)
    assert jigsaw.classes == 31
    assert jigsaw.orders[0].tolist() == list(range(9))


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_a_share_of_the_tiles_loses_its_colour(probability):
    images = torch.rand(100, 3, 33, 33, generator=generator())
    shuffled, _ = Jigsaw(grey_probability=probability)(images, generator(2))
    tiles = cut_tiles(shuffled, 3, 3)
    share = (tiles == tiles[:, :, :1]).flatten(2).all(dim=2).float().mean().item()
    assert math.isclose(share, probability, abs_tol=0.06)


test_impossible_options_are_refused = refusals(
    Jigsaw,
    ({"tiles": 1}, "tiles must be from 2 to 8 a side, got 1"),
    ({"tiles": 2, "orders": 24}, "orders must be from 2 to 23 with 2 x 2 tiles, got 24"),
    ({"selection": "far"}, "selection must be one of hamming, random, got 'far'"),
    ({"grey_probability": 2}, r"grey_probability must be in \[0, 1\], got 2"),
)
