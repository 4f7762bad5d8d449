# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from anomalib_plugins.models.cutswap_patchcore.anchors import clusters, pack, salient, topk, unpack

DISTRIBUTIONS = {
    "cubes": lambda rand, size: rand.random(size) ** 3,
    "normal": lambda rand, size: rand.normal(size=size),
    "eight bits": lambda rand, size: rand.integers(0, 256, size) / 255,
    "mixture": lambda rand, size: rand.normal(rand.choice([0.0, 1.0, 1.3, 4.0], size), 0.2),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def maps():
    return torch.rand(3, 2, 24, 20, generator=seeded()) ** 3


def test_ranks_rise_with_the_saliency(maps):
    ranks = clusters(maps)
    assert ranks.dtype == torch.uint8
    assert ranks.shape == maps.shape
    for values, levels in zip(maps.flatten(0, 1), ranks.flatten(0, 1), strict=True):
        assert levels.unique().tolist() == [0, 1, 2, 3]
        for rank in range(3):
            assert values[levels == rank].max() < values[levels == rank + 1].min()


def best_inertia(values, k):
    """Inertia of the best of 20 starts of k-means on the numbers themselves."""
    return KMeans(k, n_init=20, tol=0, random_state=0).fit(values[:, None]).inertia_


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_inertia_is_within_half_a_percent_of_the_best(name, k):
    values = DISTRIBUTIONS[name](np.random.default_rng(0), 64 * 64)
    ranks = clusters(torch.from_numpy(values).view(1, 1, 64, 64), k).numpy().ravel()
    inertia = sum(((values[ranks == rank] - values[ranks == rank].mean()) ** 2).sum() for rank in range(k))
    assert inertia <= 1.005 * best_inertia(values, k)


def test_too_few_different_values_leave_the_lowest_clusters_empty():
    assert clusters(torch.tensor([[[[2.0, 1.0], [1.0, 2.0]]]]), 4).flatten().tolist() == [3, 2, 2, 3]
    assert (clusters(torch.full((1, 1, 8, 8), 0.3), 4) == 3).all()


@pytest.mark.parametrize("cluster", ["max", "min", "random"])
def test_every_map_has_salient_pixels_whatever_the_others_are_like(cluster, maps):
    maps[1, 1] = 0.5  # which is all in the top cluster
    chosen = salient(clusters(maps), cluster, seeded())
    assert chosen.flatten(2).any(dim=2).all()
    assert chosen[1, 1].all()


def test_a_random_cluster_is_any_of_them_for_each_map():
    ranks = clusters(torch.rand(1, 1, 16, 16, generator=seeded())).expand(200, 2, 16, 16)
    chosen = salient(ranks, "random", seeded())
    found = ranks.masked_fill(~chosen, 9).amin(dim=(2, 3))
    assert torch.equal(chosen, ranks == found[:, :, None, None])
    assert torch.bincount(found.flatten().long()).min() > 60
    assert (found[:, 0] != found[:, 1]).any()
    assert torch.equal(chosen, salient(ranks, "random", seeded()))
    assert not torch.equal(chosen, salient(ranks, "random", seeded(1)))


def test_the_top_pixels_are_so_many_and_none_is_less_salient(maps):
    chosen = topk(maps, 30)
    assert (chosen.sum(dim=(2, 3)) == 30).all()
    for values, mask in zip(maps.flatten(0, 1), chosen.flatten(0, 1), strict=True):
        assert values[mask].min() >= values[~mask].max()


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_packing_loses_nothing_and_takes_a_bit_a_pixel(height, width, seed):
    masks = torch.rand(2, 3, height, width, generator=seeded(seed)) < 0.5
    packed = pack(masks)
    assert packed.dtype == torch.uint8
    assert packed.shape == (2, 3, -(-height * width // 8))
    assert torch.equal(unpack(packed, (height, width)), masks)
    assert torch.equal(unpack(packed[1, 2], (height, width)), masks[1, 2])
