# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""From saliency maps to anchors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomalib_plugins.models.cutswap_patchcore.anchors import clusters, pack, salient, topk, unpack


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(3, 2, 24, 20, generator=seeded()) ** 3


def test_ranks_rise_with_the_saliency(maps: Tensor) -> None:
    ranks = clusters(maps)
    assert ranks.dtype == torch.uint8
    assert ranks.shape == maps.shape
    for values, levels in zip(maps.flatten(0, 1), ranks.flatten(0, 1), strict=True):
        assert levels.unique().tolist() == [0, 1, 2, 3]
        for rank in range(3):
            assert values[levels == rank].max() < values[levels == rank + 1].min()


def test_each_map_has_clusters_of_its_own(maps: Tensor) -> None:
    assert torch.equal(clusters(maps)[1:2, 1:], clusters(maps[1:2, 1:]))


def test_one_cluster_is_the_whole_map(maps: Tensor) -> None:
    assert salient(clusters(maps, k=1)).all()


@pytest.mark.parametrize("which", ["max", "min", "random"])
def test_a_constant_map_is_salient_everywhere(which: str) -> None:
    assert salient(clusters(torch.zeros(1, 1, 16, 16)), which).all()


def test_the_top_cluster_is_what_exceeds_all_other_pixels(maps: Tensor) -> None:
    chosen = salient(clusters(maps), "max")
    for values, mask in zip(maps.flatten(0, 1), chosen.flatten(0, 1), strict=True):
        assert values[mask].min() > values[~mask].max()


def test_the_bottom_cluster_is_what_all_other_pixels_exceed(maps: Tensor) -> None:
    chosen = salient(clusters(maps), "min")
    for values, mask in zip(maps.flatten(0, 1), chosen.flatten(0, 1), strict=True):
        assert values[mask].max() < values[~mask].min()


@pytest.mark.parametrize("which", ["max", "min", "random"])
def test_every_map_has_salient_pixels_whatever_the_others_are_like(which: str, maps: Tensor) -> None:
    maps[1, 1] = 0.5  # which is all in the top cluster
    chosen = salient(clusters(maps), which, seeded())
    assert chosen.flatten(2).any(dim=2).all()
    assert chosen[1, 1].all()


def test_a_random_cluster_is_any_of_them_for_each_map() -> None:
    ranks = clusters(torch.rand(1, 1, 16, 16, generator=seeded())).expand(200, 2, 16, 16)
    chosen = salient(ranks, "random", seeded())
    found = ranks.masked_fill(~chosen, 9).amin(dim=(2, 3))
    assert torch.equal(chosen, ranks == found[:, :, None, None])
    assert torch.bincount(found.flatten().long()).min() > 60
    assert (found[:, 0] != found[:, 1]).any()
    assert torch.equal(chosen, salient(ranks, "random", seeded()))
    assert not torch.equal(chosen, salient(ranks, "random", seeded(1)))


def test_a_random_cluster_is_never_an_empty_one() -> None:
    two_values = torch.zeros(50, 1, 8, 8).index_fill(3, torch.tensor([0]), 1.0)
    assert salient(clusters(two_values), "random", seeded()).flatten(1).any(dim=1).all()


def test_the_top_pixels_are_so_many_and_none_is_less_salient(maps: Tensor) -> None:
    chosen = topk(maps, 30)
    assert (chosen.sum(dim=(2, 3)) == 30).all()
    for values, mask in zip(maps.flatten(0, 1), chosen.flatten(0, 1), strict=True):
        assert values[mask].min() >= values[~mask].max()


def test_the_paper_takes_300_pixels_or_all_there_are() -> None:
    assert topk(torch.rand(1, 1, 256, 256)).sum() == 300
    assert topk(torch.rand(1, 1, 10, 10)).all()


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_packing_loses_nothing_and_takes_a_bit_a_pixel(height: int, width: int, seed: int) -> None:
    masks = torch.rand(2, 3, height, width, generator=seeded(seed)) < 0.5
    packed = pack(masks)
    assert packed.dtype == torch.uint8
    assert packed.shape == (2, 3, -(-height * width // 8))
    assert torch.equal(unpack(packed, (height, width)), masks)
    assert torch.equal(unpack(packed[1, 2], (height, width)), masks[1, 2])


def test_refuses_an_unknown_cluster(maps: Tensor) -> None:
    with pytest.raises(ValueError, match="which must be one of max, min, random, got 'top'"):
        salient(clusters(maps), "top")


def test_refuses_no_pixels(maps: Tensor) -> None:
    with pytest.raises(ValueError, match="count must be at least 1 pixel, got 0"):
        topk(maps, 0)
