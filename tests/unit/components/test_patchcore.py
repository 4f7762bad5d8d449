# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from anomalib_plugins.components.patchcore import PatchcoreModel, PatchMemory

SIZE = (32, 48)


class Convolution(PatchcoreModel):
    """Patches are what one layer sees of 4 x 4 pixels."""

    def __init__(self, channels=(16,), **options):
        super().__init__(channels, **options)
        self.layers = nn.ModuleList(nn.Conv2d(3, width, 4, 4 * 2**n) for n, width in enumerate(channels))

    def features(self, images):
        return [layer(images) for layer in self.layers]


def images(count):
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Convolution()


def test_bank_is_the_same_whatever_order_images_come_in(model):
    batch, banks = images(4), []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        memory = PatchMemory(model, ratio=0.1)
        for number in order:
            memory.gather([f"{number}.png"], batch[number][None])
        memory.fill(seed=0)
        banks.append(model.banks[0].vectors)
    assert len(banks[0]) == int(0.1 * 4 * 8 * 12)
    assert_close(banks[0], banks[1])


def test_an_image_seen_twice_counts_once(model):
    memory = PatchMemory(model, ratio=1.0)
    for _ in range(2):
        memory.gather(["a.png"], images(1))
    memory.fill(seed=0)
    assert len(model.banks[0].vectors) == 8 * 12


def test_at_least_the_neighbours_are_kept_and_at_most_what_there_is(model):
    assert [PatchMemory(model, ratio=0.01).count(patches) for patches in (5, 100, 2000)] == [5, 9, 20]


def test_a_bank_above_the_limit_is_refused_with_an_estimate(model):
    memory = PatchMemory(model, ratio=0.5, max_size=1000)
    memory.check(20, images(1)[0])  # 960
    with pytest.raises(
        ValueError, match=r"keep 1008 of 2016 patches \(0 MB; choosing them takes 0 MB\), more than max_bank_size"
    ):
        memory.check(21, images(1)[0])


def test_patches_that_no_memory_holds_are_refused_with_an_estimate(model):
    with pytest.raises(
        ValueError, match=r"takes \d{8,} MB\), but only \d+ MB of memory are free on cpu: lower image_size"
    ):
        PatchMemory(model, ratio=1e-12).check(10**10, images(1)[0])


def filled(matching):
    """A network of two maps with filled banks."""
    torch.manual_seed(0)
    model = Convolution((16, 8), matching=matching)
    memory = PatchMemory(model, ratio=0.1)
    memory.gather(["a", "b", "c"], images(3))
    memory.fill(seed=0)
    return model.eval()


@torch.no_grad()
def test_layerwise_distances_are_geometric_means_and_the_largest_scores():
    model, batch = filled("layerwise"), images(5)[3:]
    fine, coarse = model.embed(batch)
    assert (fine.shape[1:], coarse.shape[1:]) == ((16, 8, 12), (8, 4, 6))
    assert [len(bank.vectors) for bank in model.banks] == [int(0.1 * 3 * 96), int(0.1 * 3 * 24)]
    (near, _), (far, _) = (bank(each.flatten(2).mT) for bank, each in zip(model.banks, (fine, coarse), strict=True))
    far = F.interpolate(far.unflatten(1, (4, 6))[:, None], (8, 12), mode="bilinear")
    expected = model.anomaly_map((near.unflatten(1, (8, 12))[:, None] * far).sqrt(), SIZE)
    found = model(batch)
    assert_close(found.anomaly_map, expected)
    assert_close(found.pred_score, expected.amax(dim=(1, 2, 3)))
    assert model(batch.fill_(torch.nan)).pred_score.min() > found.anomaly_map.max()


@torch.no_grad()
def test_a_checkpoint_with_one_bank_stays_joint():
    old = filled("joint")
    state = {name.replace("banks.0.", "bank."): each for name, each in old.state_dict().items()}
    model = Convolution((16, 8), matching="layerwise").eval()
    model.load_state_dict(state)
    found, known = model(images(2)), old(images(2))
    assert_close(found.anomaly_map, known.anomaly_map, rtol=0, atol=0)
    assert_close(found.pred_score, known.pred_score, rtol=0, atol=0)


def test_unknown_matching_is_refused():
    with pytest.raises(ValueError, match="matching must be"):
        Convolution(matching="both")
