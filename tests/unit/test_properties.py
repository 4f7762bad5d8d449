# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0


import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anomalib_plugins.components.coreset import greedy_coreset
from anomalib_plugins.components.memory_bank import MemoryBank
from anomalib_plugins.metrics import AUPRO
from anomalib_plugins.models.cutswap_patchcore.anchors import clusters
from anomalib_plugins.models.sbm_pfam.jigsaw import select_orders

SEEDS = st.integers(0, 2**31 - 1)
some = settings(max_examples=40, deadline=None)


def normal(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


# Coreset


@st.composite
def crowded(draw):
    """Points on few places, many of them on the same, and how many to pick."""
    points = draw(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=30))
    return torch.tensor(points, dtype=torch.float64), draw(st.integers(1, len(points)))


@some
@given(case=crowded(), seed=SEEDS)
def test_a_coreset_is_a_part_without_repetition(case, seed):
    points, count = case
    picks = greedy_coreset(points, count, seed, progress=False)
    assert picks.shape == (count,)
    assert len(picks.unique()) == count
    assert set(picks.tolist()) <= set(range(len(points)))


@some
@given(seed=SEEDS, size=st.integers(2, 40), exponent=st.integers(-20, 20), shift=st.integers(-8, 8))
def test_neither_scale_nor_place_changes_a_coreset(seed, size, exponent, shift):
    points = normal(seed, size, 3)
    picks = greedy_coreset(points, (size + 1) // 2, seed, progress=False)
    moved = (points + shift) * 2.0**exponent
    assert torch.equal(greedy_coreset(moved, (size + 1) // 2, seed, progress=False), picks)


# Jigsaw


@some
@given(tiles=st.integers(4, 9), count=st.integers(2, 12), seed=SEEDS, selection=st.sampled_from(["hamming", "random"]))
def test_orders_are_permutations_that_differ_from_each_other_and_from_none(tiles, count, seed, selection):
    orders = select_orders(tiles, count, selection, seed)  # type: ignore[arg-type]
    assert (np.sort(orders, axis=1) == np.arange(tiles)).all()
    assert len(np.unique(orders, axis=0)) == count
    assert (orders != np.arange(tiles)).any(axis=1).all()


# Memory bank


@some
@given(
    seed=SEEDS, kept=st.integers(1, 20), asked=st.integers(1, 20), channels=st.integers(1, 8), offset=st.integers(-9, 9)
)
def test_a_banks_distances_are_the_smallest_of_all(seed, kept, asked, channels, offset):
    patches, queries = normal(seed, kept, channels) + offset, normal(seed + 1, 1, asked, channels) + offset
    bank = MemoryBank(channels)
    bank.keep(patches)
    expected = torch.cdist(queries, patches[None]).amin(dim=2).clamp(max=float(bank.far))
    assert_close(bank(queries)[0].double(), expected, rtol=1e-5, atol=1e-5)


@some
@given(seed=SEEDS, kept=st.integers(2, 20))
def test_the_order_of_a_banks_vectors_changes_nothing(seed, kept):
    patches, queries = normal(seed, kept, 4), normal(seed + 1, 2, 6, 4)
    bank, mixed = MemoryBank(4, num_neighbors=3), MemoryBank(4, num_neighbors=3)
    bank.keep(patches)
    mixed.keep(patches[torch.from_numpy(np.random.default_rng(seed).permutation(kept))])
    assert_close(mixed(queries), bank(queries), rtol=1e-5, atol=1e-5)


# Metrics


def aupro(maps, masks):
    metric = AUPRO(fields=("anomaly_map", "gt_mask"))
    metric.update(ImageBatch(image=torch.zeros(len(maps), 3, *maps.shape[-2:]), anomaly_map=maps, gt_mask=masks))
    return float(metric.compute())


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_aupro_follows_ranks_and_not_which_way_an_image_lies(seed):
    maps, masks = normal(seed, 3, 1, 12, 12).float(), normal(seed + 1, 3, 12, 12) > 1
    expected = aupro(maps, masks)
    assert 0 <= expected <= 1
    assert aupro(maps.exp(), masks) == pytest.approx(expected, abs=1e-4)
    for turned in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2), lambda x: x.flip(0)):
        assert aupro(turned(maps), turned(masks)) == pytest.approx(expected, abs=1e-4)


# Clusters of saliency


@some
@given(seed=SEEDS, size=st.integers(1, 60), k=st.integers(1, 5), exponent=st.integers(-10, 10))
def test_clusters_keep_the_order_of_values_and_grow_with_them(seed, size, k, exponent):
    values = normal(seed, 1, 1, 1, size)
    ranks = clusters(values, k)
    assert (ranks.flatten()[values.flatten().argsort()].diff() >= 0).all()
    assert ranks.max() == k - 1
    assert torch.equal(clusters(values * 2.0**exponent, k), ranks)
