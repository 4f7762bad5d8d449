# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from anomalib.models.components.sampling import KCenterGreedy

from anomalib_plugins.components import coreset
from anomalib_plugins.components.coreset import greedy_coreset


def farthest_points(points, count, first):
    """The plain algorithm: look at all points for each pick."""
    picks = [int(first)]
    distances = torch.full((len(points),), torch.inf, dtype=points.dtype)
    while len(picks) < count:
        distances = distances.minimum((points - points[picks[-1]]).square().sum(dim=1))
        distances[picks] = -1
        picks.append(int(distances.argmax()))
    return picks


def fill_distance(points, picks):
    return torch.cdist(points, points[picks]).amin(dim=1).max()


@pytest.fixture
def points():
    """Five clouds of different sizes, far from the origin."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(5, 24, generator=generator, dtype=torch.float64) + 10
    noise = torch.randn(5, 200, 24, generator=generator, dtype=torch.float64)
    return (centres[:, None] + torch.arange(1, 6)[:, None, None] * noise).flatten(0, 1)


@pytest.mark.parametrize("candidates", [1, 2, 30, 1024])
@pytest.mark.parametrize("seed", [0, 1])
def test_picks_are_exactly_those_of_the_plain_algorithm(points, candidates, seed):
    picks = greedy_coreset(points, 150, seed, candidates)
    assert picks.tolist() == farthest_points(points, 150, picks[0])


def test_blocks_change_nothing(points, monkeypatch):
    expected = greedy_coreset(points, 50)
    monkeypatch.setattr(coreset, "BLOCK", 100)
    assert torch.equal(greedy_coreset(points, 50), expected)


@pytest.mark.parametrize("ratio", [0.01, 0.1])
def test_no_point_is_farther_from_it_than_from_anomalibs(points, ratio):
    points = points.float()
    picks = greedy_coreset(points, int(ratio * len(points)))
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # what anomalib's projection draws from
    theirs = KCenterGreedy(points, ratio).select_coreset_idxs()
    assert len(picks) == len(theirs)
    assert fill_distance(points, picks) <= fill_distance(points, theirs)


def test_global_random_numbers_are_neither_used_nor_spent(points):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = greedy_coreset(points, 20)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(1)
    assert torch.equal(greedy_coreset(points, 20), first)


def test_autocast_does_not_round_distances(points):
    points = points.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picks = greedy_coreset(points, 100)
    assert torch.equal(picks, greedy_coreset(points, 100))


def test_progress_is_shown_unless_switched_off(points, capsys):
    greedy_coreset(points, 20, progress=False)
    assert not capsys.readouterr().err
    greedy_coreset(points, 20)
    assert "20/20" in capsys.readouterr().err


@pytest.mark.parametrize(("shape", "count"), [((5, 2), 0), ((5, 2), 6), ((5,), 1), ((0, 2), 1)])
def test_impossible_counts_are_refused(shape, count):
    with pytest.raises(ValueError, match=rf"cannot pick {count} of points of shape"):
        greedy_coreset(torch.zeros(shape), count)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_points_that_are_not_finite_are_refused(points, value):
    points[3, 4] = value
    with pytest.raises(ValueError, match="NaN or an infinity"):
        greedy_coreset(points, 5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_picks_on_a_gpu_are_those_on_the_cpu(points):
    assert torch.equal(greedy_coreset(points.cuda(), 100).cpu(), greedy_coreset(points, 100))
