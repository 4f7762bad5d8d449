# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from anomalib_plugins.components.patchcore import PatchcoreModel, PatchMemory

SIZE = (32, 48)


class Convolution(PatchcoreModel):
    """Patches are what one layer sees of 4 x 4 pixels."""

    def __init__(self):
        super().__init__(channels=[16])
        self.layer = nn.Conv2d(3, 16, 4, stride=4)

    def features(self, images):
        return [self.layer(images)]


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
