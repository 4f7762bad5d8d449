# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.models.components import MultiVariateGaussian
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
from torch.testing import assert_close

from anomalib_plugins.components import limits
from anomalib_plugins.components.gaussians import PatchGaussians


def embeddings(count=12, channels=6, seed=0):
    """Features about a mean far from zero."""
    generator = torch.Generator().manual_seed(seed)
    return 5 + torch.randn(count, channels, 3, 4, generator=generator)


def fitted(*batches, half=False):
    gaussians = PatchGaussians(half)
    for batch in batches:
        gaussians.add(batch)
    gaussians.finish()
    return gaussians


def anomalib_distances(train, test):
    gaussian = MultiVariateGaussian()
    gaussian.fit(train)
    return AnomalyMapGenerator.compute_distance(test, [gaussian.mean, gaussian.inv_covariance])


@pytest.mark.parametrize(("sizes", "channels"), [((12,), 6), ((5, 7), 6), ((1, 1, 10), 6), ((12,), 11)])
def test_distances_are_anomalibs_whatever_the_batches_and_strips(sizes, channels):
    train, test = embeddings(channels=channels), embeddings(3, channels, seed=1)
    assert_close(fitted(*train.split(sizes))(test), anomalib_distances(train, test), rtol=1e-4, atol=1e-4)


def test_more_features_than_images_work():
    train, test = embeddings(3, channels=20), embeddings(2, channels=20, seed=1)
    assert_close(fitted(train)(test), anomalib_distances(train, test), rtol=1e-3, atol=1e-3)


def test_a_single_image_is_far_from_others_and_not_from_itself():
    train, test = embeddings(1), embeddings(1, seed=1)
    gaussians = fitted(train)
    assert_close(gaussians(train), torch.zeros(1, 1, 3, 4))
    assert_close(gaussians(test)[0, 0], (test - train)[0].norm(dim=0) / 0.01001**0.5)


def test_nothing_is_farther_than_far_and_broken_lies_above():
    gaussians = fitted(embeddings())
    assert gaussians(embeddings() + 1e6).max() == gaussians.far < gaussians.broken


def test_black_features_work():
    gaussians = fitted(torch.zeros(4, 3, 2, 2))
    assert gaussians(torch.zeros(1, 3, 2, 2)).max() == 0 < gaussians.far


def test_inverse_covariances_are_anomalibs():
    train, gaussian, gaussians = embeddings(40, channels=23), MultiVariateGaussian(), PatchGaussians()
    gaussian.fit(train)
    for batch in train.split([15, 25]):
        gaussians.add(batch)
    mean, inverses = gaussians.finish_as_inverses()
    assert_close(mean.T, gaussian.mean)
    assert_close(inverses, gaussian.inv_covariance, rtol=1e-4, atol=1e-4)
    assert gaussians.count == 0


def test_it_holds_one_array_of_covariances_whatever_the_number_of_images():
    gaussians = PatchGaussians()
    gaussians.add(embeddings())
    address = gaussians.whitening.data_ptr()
    gaussians.add(embeddings(seed=1))
    gaussians.finish()
    assert gaussians.whitening.data_ptr() == address
    assert gaussians.whitening.numel() == 12 * (6 * 7) // 2


def test_chunks_of_places_change_nothing(monkeypatch):
    train, test = embeddings(), embeddings(3, seed=1)
    expected = fitted(train)(test)
    monkeypatch.setattr(limits, "CHUNK", 5 * 36)  # of 12 places
    assert_close(fitted(train)(test), expected, rtol=1e-6, atol=1e-6)


def test_half_takes_five_sixteenths_of_anomalibs_bytes_and_turns_distances_little():
    train, test = embeddings(40, channels=20), embeddings(3, channels=20, seed=1)
    half, whole = fitted(train, half=True), fitted(train)
    assert half.whitening.nbytes * 16 == 5 * 12 * 20 * 20 * 4
    assert_close(half(test), whole(test), rtol=5e-3, atol=0)
    assert not torch.equal(half(test), whole(test))


def test_other_arrangements_are_refused_when_they_are_loaded():
    state = fitted(embeddings(40, channels=20), half=True).state_dict()
    with pytest.raises(RuntimeError, match=r"whitening holds 3000 numbers, expected 2640 in 10 strips: .* train again"):
        PatchGaussians().load_state_dict(state)
    square = {**state, "whitening": torch.zeros(12, 20, 20)}
    with pytest.raises(RuntimeError, match=r"whitening holds 4800 numbers, expected 3000 in 4 strips"):
        PatchGaussians(half=True).load_state_dict(square)


@pytest.mark.parametrize("half", [False, True])
def test_an_exported_graph_gives_the_same(half):
    gaussians, test = fitted(embeddings(40, channels=20), half=half), embeddings(3, channels=20, seed=1)
    graph = torch.export.export(gaussians, (test,)).module()
    assert_close(graph(test), gaussians(test), rtol=5e-3 if half else 1e-6, atol=0)


def test_autocast_changes_nothing():
    train, test = embeddings(), embeddings(3, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = fitted(train)(test)
    assert_close(got, fitted(train)(test), rtol=0, atol=0)


def test_gathering_begins_anew_after_clear():
    train, gaussians = embeddings(), PatchGaussians()
    gaussians.add(embeddings(seed=3))
    gaussians.clear()
    gaussians.add(train)
    gaussians.finish()
    assert_close(gaussians(train), fitted(train)(train), rtol=0, atol=0)


def test_unfitted_ones_and_other_sizes_are_refused():
    gaussians = PatchGaussians()
    with pytest.raises(RuntimeError, match="there are no Gaussians: train the model first"):
        gaussians(embeddings())
    gaussians.add(embeddings())
    with pytest.raises(RuntimeError, match="there are no Gaussians: train the model first"):
        gaussians(embeddings())
    gaussians.finish()
    with pytest.raises(RuntimeError, match="trained with 12 positions per image, got 2 x 2"):
        gaussians(torch.zeros(1, 6, 2, 2))
