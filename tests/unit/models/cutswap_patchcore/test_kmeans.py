# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""K-means in one dimension."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor
from torch.testing import assert_close

from anomalib_plugins.components import kmeans
from anomalib_plugins.models.cutswap_patchcore.kmeans import kmeans_1d

DISTRIBUTIONS = {
    "cubes": lambda rand, size: rand.random(size) ** 3,
    "normal": lambda rand, size: rand.normal(size=size),
    "heavy tails": lambda rand, size: rand.standard_cauchy(size),
    "eight bits": lambda rand, size: rand.integers(0, 256, size) / 255,
    "a speck far away": lambda rand, size: np.where(np.arange(size) < 5, 1000.0, rand.random(size)),
    "mixture": lambda rand, size: rand.normal(rand.choice([0.0, 1.0, 1.3, 4.0], size), 0.2),
}


def numbers(name: str, size: int = 20_000, seed: int = 0) -> Tensor:
    return torch.from_numpy(DISTRIBUTIONS[name](np.random.default_rng(seed), size))


def inertia(values: Tensor, ranks: Tensor) -> float:
    parts = [values[ranks == rank] for rank in ranks.unique()]
    return float(sum(((part - part.mean()) ** 2).sum() for part in parts))


def best_inertia(values: Tensor, k: int) -> float:
    """Of all ways to cut the sorted numbers into at most ``k`` parts."""
    ordered = values.sort().values
    ways = itertools.combinations_with_replacement(range(len(values) + 1), k - 1)
    parts = ((ordered[a:b] for a, b in itertools.pairwise((0, *cuts, len(values)))) for cuts in ways)
    return min(sum(float(((part - part.mean()) ** 2).sum()) for part in way if len(part)) for way in parts)


floats = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=8), k=st.integers(1, 4))
def test_few_numbers_get_the_best_clusters_there_are(values: list[int], k: int) -> None:
    row = torch.tensor(values, dtype=torch.float64)
    assert kmeans_1d(row, k).inertia.item() == pytest.approx(best_inertia(row, k), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(values=floats, k=st.integers(1, 6))
def test_clusters_are_intervals_around_ascending_centroids(values: list[float], k: int) -> None:
    row = torch.tensor(values, dtype=torch.float64)
    found = kmeans_1d(row, k)
    ranks = found.assign(row).long()
    assert (found.centroids.diff() >= 0).all()
    assert (found.centroids[ranks.unique()].diff() > 0).all()
    assert (ranks[row.argsort()].diff() >= 0).all()
    assert ranks.max() == k - 1
    for rank in ranks.unique():
        assert_close(found.centroids[rank], row[ranks == rank].mean())
    assert found.inertia.item() == pytest.approx(inertia(row, ranks), rel=1e-6, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(values=floats, k=st.integers(1, 6))
def test_no_number_is_nearer_to_another_centroid(values: list[float], k: int) -> None:
    row = torch.tensor(values, dtype=torch.float64)
    found = kmeans_1d(row, k)
    distances = (row[:, None] - found.centroids).abs()
    own = distances.gather(1, found.assign(row).long()[:, None])
    assert (own <= distances + 1e-9).all()


@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_worse_than_scikit_learn_with_ten_starts(name: str, k: int) -> None:
    row = numbers(name)
    theirs = KMeans(k, n_init=10, random_state=0).fit(row[:, None].numpy()).inertia_
    assert kmeans_1d(row, k).inertia <= theirs * (1 + 1e-6)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_as_good_as_trying_sixteen_times_as_many_places(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = numbers(name)
    found = kmeans_1d(row, 4).inertia
    monkeypatch.setattr(kmeans, "CUTS", 4096)
    assert found <= kmeans_1d(row, 4).inertia * (1 + 1e-5)


def test_inertia_falls_with_every_cluster() -> None:
    inertias = [kmeans_1d(numbers("mixture"), k).inertia.item() for k in range(1, 9)]
    assert inertias == sorted(inertias, reverse=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6))
def test_an_iteration_of_lloyd_never_increases_the_inertia(seed: int, k: int) -> None:
    rand = np.random.default_rng(seed)
    ordered = np.sort(rand.random(200))
    cuts = np.array([0, *np.sort(rand.choice(np.arange(1, 200), k - 1, replace=False)), 200])
    sums = kmeans._PrefixSums(ordered)
    before, iterations = sums.inertia(cuts), 0
    while not np.array_equal(after := kmeans._lloyd(ordered, sums, cuts, iterations=1), cuts):
        assert sums.inertia(after) <= before + 1e-12
        before, cuts, iterations = sums.inertia(after), after, iterations + 1
        assert iterations < 200


def test_as_many_clusters_as_are_allowed_are_all_in_use() -> None:
    row = numbers("normal")
    assert len(kmeans_1d(row, 64).assign(row).unique()) == 64


def test_one_cluster_holds_every_number_around_the_mean() -> None:
    row = numbers("normal", 100)
    found = kmeans_1d(row, 1)
    assert (found.assign(row) == 0).all()
    assert_close(found.centroids, row.mean()[None])
    assert found.thresholds.shape == (0,)


def test_equal_numbers_are_all_in_the_top_cluster() -> None:
    row = torch.full((3000,), 0.3)
    found = kmeans_1d(row, 4)
    assert (found.assign(row) == 3).all()
    assert found.inertia == 0
    assert_close(found.centroids, torch.full((4,), 0.3))


def test_too_few_different_numbers_leave_the_lowest_clusters_empty() -> None:
    row = torch.tensor([2.0, 1.0, 1.0, 2.0])
    found = kmeans_1d(row, 4)
    assert found.assign(row).tolist() == [3, 2, 2, 3]
    assert found.centroids.tolist() == [1, 1, 1, 2]


@settings(max_examples=200, deadline=None)
@given(counts=st.lists(st.integers(1, 300), min_size=2, max_size=3), seed=st.integers(0, 2**31))
def test_the_top_cluster_is_never_the_empty_one(counts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).random(len(counts)) * 1e3
    row = torch.from_numpy(values.repeat(counts))
    found = kmeans_1d(row, 6)
    assert torch.equal(found.assign(row) == 5, row == values.max())
    assert found.inertia <= 1e-12 * kmeans_1d(row, 1).inertia


def test_a_single_number_between_two_crowds_has_a_cluster_of_its_own() -> None:
    row = torch.tensor([15.0] * 84 + [417.0] + [777.0] * 108)
    assert kmeans_1d(row, 6).inertia == pytest.approx(0, abs=1e-6)


def test_rows_of_any_shape_are_clustered_one_by_one() -> None:
    rows = torch.stack([numbers(name, 600) for name in DISTRIBUTIONS]).view(2, 3, 600)
    found = kmeans_1d(rows, 3)
    assert found.centroids.shape == (2, 3, 3)
    assert found.thresholds.shape == (2, 3, 2)
    assert found.inertia.shape == (2, 3)
    for index in itertools.product(range(2), range(3)):
        alone = kmeans_1d(rows[index], 3)
        assert torch.equal(found.centroids[index], alone.centroids)
        assert torch.equal(found.assign(rows)[index], alone.assign(rows[index]))


def test_the_order_of_the_numbers_means_nothing() -> None:
    row = numbers("mixture")
    mixed = row[torch.randperm(len(row), generator=torch.Generator().manual_seed(0))]
    assert all(itertools.starmap(torch.equal, zip(kmeans_1d(row, 4), kmeans_1d(mixed, 4), strict=True)))


def test_input_stays_as_it_is_and_may_need_gradients() -> None:
    row = numbers("normal", 50).requires_grad_()
    before = row.detach().clone()
    assert not kmeans_1d(row, 3).centroids.requires_grad
    assert torch.equal(row, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_thresholds_cut_numbers_of_lower_precision_where_they_were_found(dtype: torch.dtype) -> None:
    row = numbers("eight bits", 3000).to(dtype)
    found = kmeans_1d(row, 4)
    assert found.centroids.dtype == torch.float32
    assert inertia(row.double(), found.assign(row)) == pytest.approx(found.inertia.item(), rel=1e-4)


@pytest.mark.parametrize("k", [0, 65])
def test_refuses_a_number_of_clusters_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be from 1 to 64 clusters, got {k}"):
        kmeans_1d(torch.rand(5), k)


@pytest.mark.parametrize("values", [torch.tensor(1.0), torch.empty(3, 0)])
def test_refuses_no_numbers(values: Tensor) -> None:
    with pytest.raises(ValueError, match="expected rows of numbers"):
        kmeans_1d(values, 2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_refuses_numbers_that_are_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or an infinity"):
        kmeans_1d(torch.tensor([[0.0, 1.0], [bad, 0.0]]), 2)
