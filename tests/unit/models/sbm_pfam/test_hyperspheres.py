# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.models.image.cfa.loss import CfaLoss
from torch.testing import assert_close

from anomalib_plugins.components import limits
from anomalib_plugins.models.sbm_pfam.hyperspheres import Hyperspheres, hypersphere_loss


def patches(count=4, places=20, channels=5, seed=0):
    return 3 + torch.randn(count, places, channels, generator=torch.Generator().manual_seed(seed))


def fitted(*batches, gamma_c=1):
    spheres = Hyperspheres(gamma_c)
    for batch in batches:
        spheres.add(batch)
    spheres.finish()
    return spheres


@pytest.mark.parametrize("chunk", [1 << 24, 50])
def test_distances_are_those_to_the_nearest_mean_patches(chunk, monkeypatch):
    monkeypatch.setattr(limits, "CHUNK", chunk)
    train, test = patches(5), patches(2, seed=1)
    expected = torch.cdist(test, train.mean(dim=0).expand(2, -1, -1)).square().sort(dim=2).values[..., :3]
    assert_close(fitted(*train.split((2, 3)))(test, 3), expected, rtol=1e-4, atol=1e-4)


def test_fewer_centroids_than_neighbors_give_all_of_them():
    assert fitted(patches(places=2))(patches(places=2), 6).shape == (4, 2, 2)


def test_gamma_c_lets_places_share_centroids():
    spheres = fitted(patches(), gamma_c=4)
    assert spheres.vectors.shape == (5, 5)
    assert_close(fitted(patches(), gamma_c=4).vectors, spheres.vectors, rtol=0, atol=0)


def test_gradients_reach_the_patches():
    test = patches(1, seed=1).requires_grad_()
    fitted(patches())(test, 3).sum().backward()
    assert (test.grad != 0).any()


def test_broken_lies_above_far():
    spheres = fitted(patches())
    assert 0 < spheres.far < spheres.broken
    black = fitted(torch.zeros(1, 4, 3))
    assert 0 < black.far < black.broken


@pytest.mark.parametrize(("neighbors", "hard", "radius"), [(3, 3, 1e-5), (2, 3, 1.5), (3, 1, 2.0)])
def test_loss_is_anomalibs(neighbors, hard, radius):
    distances = torch.rand(2, 7, 30, generator=torch.Generator().manual_seed(0)) * 4
    nearest = distances.topk(neighbors + hard, largest=False).values
    assert_close(hypersphere_loss(nearest, neighbors, hard, radius), CfaLoss(neighbors, hard, radius)(distances))


def test_loss_of_fewer_centroids_than_neighbors_is_finite():
    assert hypersphere_loss(torch.ones(1, 1, 2)) == pytest.approx(1000)


def test_gradcheck():
    squared = torch.rand(1, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    assert torch.autograd.gradcheck(lambda x: hypersphere_loss(x, 2, 2, 1.2), squared.requires_grad_())


def test_impossible_uses_are_refused():
    with pytest.raises(ValueError, match="gamma_c must be at least 1, got 0"):
        Hyperspheres(0)
    with pytest.raises(RuntimeError, match="there are no centroids: train the model first"):
        Hyperspheres()(patches(), 3)
