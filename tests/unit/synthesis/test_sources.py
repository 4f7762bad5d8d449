# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from collections import Counter

import torch
from torch.testing import assert_close

from anomalib_plugins.synthesis.sources import other_images, turned


def flat(count, side=32):
    """Images of one value each, so that it can be seen where a pixel came from."""
    return (torch.arange(count) / 16)[:, None, None, None].expand(-1, 3, side, side).clone()


def test_every_other_image_of_the_pool_is_picked_equally_often_and_never_the_same():
    pool = flat(4)
    images = pool[1:2].expand(3000, -1, -1, -1)
    picked = Counter((other_images(images, pool, torch.Generator().manual_seed(0))[:, 0, 0, 0] * 16).tolist())
    assert set(picked) == {0.0, 2.0, 3.0}
    assert all(900 < count < 1100 for count in picked.values())


def test_an_image_alone_in_its_pool_is_its_own_tiles_in_disorder():
    image = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    source = other_images(image, image, torch.Generator().manual_seed(0))
    assert not torch.equal(source, image)
    assert_close(source.flatten(2).sort().values, image.flatten(2).sort().values)


def test_turned_images_are_nearly_upright_or_upside_down():
    image = torch.zeros(1, 3, 101, 101)
    image[..., :20, 45:56] = 1  # a mark at the top
    sources = turned(image.expand(200, -1, -1, -1), torch.Generator().manual_seed(0))
    top, bottom = sources[:, 0, 5, 50] > 0.5, sources[:, 0, -6, 50] > 0.5
    assert (top ^ bottom).all()
    assert 70 < top.sum() < 130
