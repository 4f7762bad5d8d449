# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.data.utils.tiler import Tiler
from torch.nn import functional as F
from torch.testing import assert_close

from anomalib_plugins.components.tiling import cut, merge, settings_of

SIZE = (64, 96)


def maps(count, *shape):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["padding", "interpolation"])
@pytest.mark.parametrize(("tile", "stride"), [(32, 32), (32, 16), ((32, 48), (16, 24)), (40, 24)])
def test_tiles_are_those_of_anomalibs_tiler(tile, stride, mode):
    tiler = Tiler(tile, stride, mode=mode)
    images = maps(2, 3, *SIZE)
    assert torch.equal(cut(images, tiler), tiler.tile(images))


@pytest.mark.parametrize("scale", [1, 8])
@pytest.mark.parametrize(("tile", "stride"), [(32, 32), (32, 16), ((32, 48), (16, 24))])
def test_maps_are_merged_as_by_anomalibs_tiler(tile, stride, scale):
    tiler = Tiler(tile, stride)
    tiles = F.avg_pool2d(torch.rand_like(tiler.tile(maps(2, 3, *SIZE))), scale)
    assert_close(merge(tiles, tiler, SIZE), tiler.untile(tiles))


@pytest.mark.parametrize("mode", ["padding", "interpolation"])
@pytest.mark.parametrize("border", [0, 4])
@pytest.mark.parametrize(("tile", "stride"), [(32, 32), (32, 20), (40, 24), (64, 5)])
@pytest.mark.parametrize("size", [(64, 96), (70, 90), (65, 127)])
def test_what_is_cut_is_merged_to_what_it_was(size, tile, stride, border, mode):
    ramp = torch.linspace(0, 1, size[1]).expand(2, 1, *size)
    tiler = Tiler(tile, stride, border, mode)
    tolerance = 1e-5 if mode == "padding" else 1.5 / size[1]  # nearest pixels
    assert_close(merge(cut(ramp, tiler), tiler, size), ramp, rtol=0, atol=tolerance)


@pytest.mark.parametrize("stride", [32, 16, 12])
def test_small_maps_lie_where_the_image_does(stride):
    """Of an image that tiles do not fit, and with strides that are no whole number of cells."""
    size = (32, 100)
    ramp = torch.linspace(0, 1, size[1]).expand(1, 1, *size)
    tiler = Tiler(32, stride)
    small = merge(F.avg_pool2d(cut(ramp, tiler), 8), tiler, size)
    assert small.shape[-2:] == (4, 13)
    larger = F.interpolate(small, size, mode="bilinear")
    assert_close(larger[..., :88], ramp[..., :88], rtol=0, atol=0.06)  # beyond, zeros are mixed in


def test_the_border_of_a_tile_counts_only_where_there_is_no_other():
    tiler = Tiler(32, 16, remove_border_count=4)
    tiles = cut(torch.zeros(1, 1, 32, 64), tiler)
    tiles[..., :4], tiles[..., -4:] = 1, 1
    merged = merge(tiles, tiler, (32, 64))
    assert merged[..., 4:-4].amax() < 1e-4
    assert merged[..., :4].amin() == 1


def test_a_tile_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="tiles of 65 x 65 px do not fit into images of 64 x 96 px"):
        cut(maps(1, 3, *SIZE), Tiler(65, 65))


def test_settings_make_the_same_tiler_again():
    tiler = Tiler((32, 48), (16, 24), 2, "interpolation")
    assert vars(Tiler(**settings_of(tiler))) == vars(tiler)
    assert settings_of(None) is None
