# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from anomalib_plugins.models.pouta.autoencoder import CHANNELS, Pyramids
from anomalib_plugins.models.pouta.contrast import ContrastNetwork, FeatureContrast, HierarchicalGate


@pytest.fixture
def pyramids():
    generator = torch.Generator().manual_seed(0)
    sides = (32, 16, 8, 4)
    maps = [
        [
            torch.rand(2, channels, side, side, generator=generator)
            for channels, side in zip(CHANNELS, sides, strict=True)
        ]
        for _ in range(2)
    ]
    return Pyramids(*maps)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ContrastNetwork().eval()


@torch.no_grad()
def test_contrast_is_three_matrix_products_a_pixel():
    torch.manual_seed(0)
    block, encoded, decoded = FeatureContrast(4), torch.randn(1, 4, 3, 5), torch.randn(1, 4, 3, 5)
    parts = (block.encoded, block.decoded, block.merge)
    of_encoded, of_decoded, merge = (part[0].weight[:, :, 0, 0] for part in parts)
    expected = torch.empty(1, 4, 3, 5)
    for y in range(3):
        for x in range(5):
            e = (of_encoded @ encoded[0, :, y, x]).relu()
            d = (of_decoded @ decoded[0, :, y, x]).relu()
            expected[0, :, y, x] = (merge @ torch.cat((e, d))).relu()
    assert_close(block(encoded, decoded), expected)


@torch.no_grad()
def test_guidance_is_equation_four_pixel_by_pixel_and_channel_by_channel():
    torch.manual_seed(0)
    block, features, guide = HierarchicalGate(6, 4), torch.randn(2, 4, 6, 10), torch.randn(2, 6, 3, 5)
    shared = block.guide[0](F.interpolate(guide, scale_factor=2, mode="bilinear", align_corners=False)).relu()
    places, channels = block.spatial[0].weight[0, :, 0, 0], block.channel[0].weight[:, :, 0, 0]
    expected = torch.empty_like(features)
    for n in range(2):
        w_cn = (channels @ shared[n].mean(dim=(1, 2))).sigmoid()
        for y in range(6):
            for x in range(10):
                w_sp = (places @ shared[n, :, y, x]).sigmoid()
                for c in range(4):
                    expected[n, c, y, x] = w_sp * features[n, c, y, x] * w_cn[c]
    assert_close(block(features, guide), expected)


@torch.no_grad()
def test_one_gate_knows_no_channels_and_the_other_no_places():
    torch.manual_seed(0)
    block, guide = HierarchicalGate(6, 4), torch.randn(2, 6, 3, 5)
    ratio = block(torch.ones(2, 4, 6, 10), guide)  # W_sp W_cn
    ratio = ratio / ratio[:, :1]  # channels to the first one: W_sp falls out
    assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


@torch.no_grad()
def test_guidance_runs_from_the_deepest_level_to_the_finest(network, pyramids):
    contrasts = [contrast(*pair) for contrast, *pair in zip(network.contrasts, *pyramids, strict=True)]
    third = network.gates[2](contrasts[2], contrasts[3])
    second = network.gates[1](contrasts[1], third)
    first = network.gates[0](contrasts[0], second)
    assert_close(network(pyramids), [first, second, third, contrasts[3]], rtol=0, atol=0)


@torch.no_grad()
def test_without_guidance_levels_are_the_contrasts(pyramids):
    network = ContrastNetwork(use_hsg=False)
    contrasts = [contrast(*pair) for contrast, *pair in zip(network.contrasts, *pyramids, strict=True)]
    assert_close(network(pyramids), contrasts, rtol=0, atol=0)


@torch.no_grad()
def test_prediction_equals_that_of_the_enlarged_and_stacked_levels(network, pyramids):
    levels = network(pyramids)
    stacked = torch.cat([F.interpolate(maps, (32, 32), mode="bilinear") for maps in levels], dim=1)
    assert_close(network.segment(levels), network.predict(stacked), rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_level_is_predicted_by_its_own_head(network, pyramids):
    levels = network(pyramids)
    expected = [
        F.interpolate(head(maps), (32, 32), mode="bilinear") for head, maps in zip(network.heads, levels, strict=True)
    ]
    assert_close(network.segment_levels(levels), expected)
    assert ContrastNetwork(use_mss=False).segment_levels(levels) == []
