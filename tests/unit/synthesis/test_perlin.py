# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import math

import pytest
import torch
from anomalib.data.utils.generators import perlin as anomalib_perlin
from torch.testing import assert_close

from anomalib_plugins.synthesis.masks import perlin_from_angles


@pytest.mark.parametrize("cells", [(1, 1), (2, 8), (16, 4), (32, 32)])
def test_equals_anomalib_for_the_same_angles(cells, monkeypatch):
    shares = torch.rand(cells[0] + 1, cells[1] + 1, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(anomalib_perlin.torch, "rand", lambda *_, **__: shares)
    expected = anomalib_perlin.generate_perlin_noise(64, 128, scale=cells, device=torch.device("cpu"))
    nodes = max(cells) + 1
    angles = torch.zeros(1, nodes, nodes)
    angles[0, : cells[0] + 1, : cells[1] + 1] = 2 * math.pi * shares
    noise = perlin_from_angles(angles, torch.tensor([cells]), (64, 128))
    assert_close(noise[0, 0], expected, atol=1e-5, rtol=0)


def test_a_lattice_is_not_changed_by_larger_ones_in_the_batch():
    angles = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0))
    both = perlin_from_angles(angles, torch.tensor([[2, 3], [8, 8]]), (50, 40))
    alone = perlin_from_angles(angles[:1, :4, :4], torch.tensor([[2, 3]]), (50, 40))
    assert_close(both[:1], alone)


def test_matches_a_pixel_loop_at_a_size_the_lattice_does_not_divide():
    height, width, (rows, columns) = 33, 47, (4, 3)
    angles = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(1)) * 6
    noise = perlin_from_angles(angles, torch.tensor([[rows, columns]]), (height, width))[0, 0]

    def fade(t):
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    for y, x in [(0, 0), (5, 9), (20, 46), (32, 1), (17, 31)]:
        v, u = y * rows / height, x * columns / width
        total = 0.0
        for i in (int(v), int(v) + 1):
            for j in (int(u), int(u) + 1):
                dot = math.cos(angles[0, i, j]) * (v - i) + math.sin(angles[0, i, j]) * (u - j)
                total += (1 - fade(abs(v - i))) * (1 - fade(abs(u - j))) * dot
        assert noise[y, x].item() == pytest.approx(math.sqrt(2) * total, abs=1e-5)
