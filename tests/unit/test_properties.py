# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What holds for whatever points, orders, patches and scores there are."""

import itertools

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from anomalib_plugins.components.coreset import greedy_coreset
from anomalib_plugins.components.memory_bank import MemoryBank
from anomalib_plugins.metrics import AUPRO
from anomalib_plugins.metrics.ranking import auroc, average_precision
from anomalib_plugins.models.cutswap_patchcore.anchors import clusters
from anomalib_plugins.models.sbm_pfam.jigsaw import Jigsaw, select_orders

SEEDS = st.integers(0, 2**31 - 1)
some = settings(max_examples=40, deadline=None)


def normal(seed: int, *shape: int) -> Tensor:
    """Numbers of which no two are equal."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def fill_distance(points: Tensor, picks: Tensor | list[int]) -> float:
    return float(torch.cdist(points, points[picks]).amin(dim=1).max())


# Coreset


@st.composite
def crowded(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Points on few places, many of them on the same, and how many to pick."""
    points = draw(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=30))
    return torch.tensor(points, dtype=torch.float64), draw(st.integers(1, len(points)))


@some
@given(case=crowded(), seed=SEEDS)
def test_a_coreset_is_a_part_without_repetition(case: tuple[Tensor, int], seed: int) -> None:
    points, count = case
    picks = greedy_coreset(points, count, seed, progress=False)
    assert picks.shape == (count,)
    assert len(picks.unique()) == count
    assert set(picks.tolist()) <= set(range(len(points)))


@some
@given(seed=SEEDS, size=st.integers(3, 9), count=st.integers(1, 3))
def test_no_coreset_reaches_points_twice_as_near(seed: int, size: int, count: int) -> None:
    points = normal(seed, size, 2)
    best = min(fill_distance(points, list(each)) for each in itertools.combinations(range(size), count))
    assert fill_distance(points, greedy_coreset(points, count, seed, progress=False)) <= 2 * best + 1e-9


@some
@given(seed=SEEDS, size=st.integers(2, 40))
def test_each_pick_lies_no_farther_from_those_before_than_the_last_one_did(seed: int, size: int) -> None:
    points = normal(seed, size, 3)
    picks = greedy_coreset(points, size, seed, progress=False).tolist()
    reach = [float(torch.cdist(points[[pick]], points[picks[:at]]).min()) for at, pick in enumerate(picks) if at]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(reach))


@some
@given(seed=SEEDS, size=st.integers(2, 40), exponent=st.integers(-20, 20), shift=st.integers(-8, 8))
def test_neither_scale_nor_place_changes_a_coreset(seed: int, size: int, exponent: int, shift: int) -> None:
    points = normal(seed, size, 3)
    picks = greedy_coreset(points, (size + 1) // 2, seed, progress=False)
    moved = (points + shift) * 2.0**exponent
    assert torch.equal(greedy_coreset(moved, (size + 1) // 2, seed, progress=False), picks)


@some
@given(seed=SEEDS, size=st.integers(2, 40))
def test_the_order_of_points_changes_no_coreset_but_by_its_first_point(seed: int, size: int) -> None:
    points = normal(seed, size, 3)
    picks = greedy_coreset(points, (size + 1) // 2, seed, progress=False)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(size))
    at = int((order == picks[0]).nonzero())
    order[at], order[picks[0]] = int(order[picks[0]]), int(picks[0])  # the seed draws a number
    again = greedy_coreset(points[order], (size + 1) // 2, seed, progress=False)
    assert torch.equal(order[again], picks)


# Jigsaw


@some
@given(tiles=st.integers(4, 9), count=st.integers(2, 12), seed=SEEDS, selection=st.sampled_from(["hamming", "random"]))
def test_orders_are_permutations_that_differ_from_each_other_and_from_none(
    tiles: int, count: int, seed: int, selection: str
) -> None:
    orders = select_orders(tiles, count, selection, seed)  # type: ignore[arg-type]
    assert (np.sort(orders, axis=1) == np.arange(tiles)).all()
    assert len(np.unique(orders, axis=0)) == count
    assert (orders != np.arange(tiles)).any(axis=1).all()


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_no_two_of_the_first_orders_share_a_place(seed: int) -> None:
    """As many as there are tiles can differ everywhere: the cyclic shifts do."""
    orders = select_orders(4, 3, seed=seed)
    assert all((one != other).all() for one, other in itertools.combinations(orders, 2))


@some
@given(seed=SEEDS, tiles=st.integers(2, 3), height=st.integers(12, 40), width=st.integers(12, 40))
def test_a_jigsaw_holds_the_pixels_of_its_image(seed: int, tiles: int, height: int, width: int) -> None:
    image = normal(seed, 1, 3, height // tiles * tiles, width // tiles * tiles).float()
    shuffled, _ = Jigsaw(tiles, orders=3, grey_probability=0, seed=seed)(image, torch.Generator().manual_seed(0))
    assert torch.equal(shuffled.flatten().sort().values, image.flatten().sort().values)


# Memory bank


@some
@given(
    seed=SEEDS, kept=st.integers(1, 20), asked=st.integers(1, 20), channels=st.integers(1, 8), offset=st.integers(-9, 9)
)
def test_a_banks_distances_are_the_smallest_of_all(
    seed: int, kept: int, asked: int, channels: int, offset: int
) -> None:
    patches, queries = normal(seed, kept, channels) + offset, normal(seed + 1, 1, asked, channels) + offset
    bank = MemoryBank(channels)
    bank.keep(patches)
    expected = torch.cdist(queries, patches[None]).amin(dim=2).clamp(max=float(bank.far))
    assert_close(bank(queries)[0].double(), expected, rtol=1e-5, atol=1e-5)


@some
@given(seed=SEEDS, kept=st.integers(2, 20))
def test_the_order_of_a_banks_vectors_changes_nothing(seed: int, kept: int) -> None:
    patches, queries = normal(seed, kept, 4), normal(seed + 1, 2, 6, 4)
    bank, mixed = MemoryBank(4, num_neighbors=3), MemoryBank(4, num_neighbors=3)
    bank.keep(patches)
    mixed.keep(patches[torch.from_numpy(np.random.default_rng(seed).permutation(kept))])
    assert_close(mixed(queries), bank(queries), rtol=1e-5, atol=1e-5)


# Metrics


@st.composite
def judged(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Scores with ties, and labels of both kinds."""
    scores = draw(st.lists(st.integers(-4, 4), min_size=2, max_size=30))
    labels = [1, 0, *draw(st.lists(st.integers(0, 1), min_size=len(scores) - 2, max_size=len(scores) - 2))]
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(labels)


@some
@given(case=judged())
def test_auroc_of_the_opposite_is_the_rest(case: tuple[Tensor, Tensor]) -> None:
    scores, labels = case
    assert float(auroc(-scores, labels)) == pytest.approx(1 - float(auroc(scores, labels)))
    assert float(auroc(scores, 1 - labels)) == pytest.approx(1 - float(auroc(scores, labels)))


@some
@given(case=judged(), copies=st.integers(2, 4), seed=SEEDS)
def test_neither_copies_nor_order_change_a_ranking(case: tuple[Tensor, Tensor], copies: int, seed: int) -> None:
    scores, labels = (each.repeat(copies) for each in case)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(scores)))
    for metric in (auroc, average_precision):
        assert float(metric(scores[order], labels[order])) == pytest.approx(float(metric(*case)))


def aupro(maps: Tensor, masks: Tensor) -> float:
    metric = AUPRO(fields=("anomaly_map", "gt_mask"))
    metric.update(ImageBatch(image=torch.zeros(len(maps), 3, *maps.shape[-2:]), anomaly_map=maps, gt_mask=masks))
    return float(metric.compute())


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_aupro_follows_ranks_and_not_which_way_an_image_lies(seed: int) -> None:
    maps, masks = normal(seed, 3, 1, 12, 12).float(), normal(seed + 1, 3, 12, 12) > 1
    expected = aupro(maps, masks)
    assert 0 <= expected <= 1
    assert aupro(maps.exp(), masks) == pytest.approx(expected, abs=1e-4)
    for turned in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2), lambda x: x.flip(0)):
        assert aupro(turned(maps), turned(masks)) == pytest.approx(expected, abs=1e-4)


# Clusters of saliency


@some
@given(seed=SEEDS, size=st.integers(1, 60), k=st.integers(1, 5), exponent=st.integers(-10, 10))
def test_clusters_keep_the_order_of_values_and_grow_with_them(seed: int, size: int, k: int, exponent: int) -> None:
    values = normal(seed, 1, 1, 1, size)
    ranks = clusters(values, k)
    assert (ranks.flatten()[values.flatten().argsort()].diff() >= 0).all()
    assert ranks.max() == k - 1
    assert torch.equal(clusters(values * 2.0**exponent, k), ranks)
