# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0


import numpy as np
import pytest
import torch
from PIL import Image


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def faintest(batch, images):
    """Smallest mean change of the anomalous ones of 7 x 7 pixels around an anomalous one."""
    change = (
        torch.nn.functional
        .pad((batch.image - images).abs().amax(dim=1, keepdim=True), (3, 3, 3, 3))
        .unfold(2, 7, 1)
        .unfold(3, 7, 1)
    )
    counted = change > 0
    return (change.sum(dim=(4, 5)) / counted.sum(dim=(4, 5)))[batch.mask.bool()].min()


def distinct(count, height, width):
    """Images in which any two pixels differ by more than half a grey level."""
    pixels = torch.stack([torch.randperm(height * width, generator=seeded(seed)) for seed in range(count)])
    pixels = pixels.view(count, height, width)
    return torch.stack([pixels / (height * width), pixels % width / width, torch.zeros_like(pixels)], dim=1)


@pytest.fixture
def make_images():
    """Noisy bright rectangles, each in another place, on dark ground: ``(count, 3, height, width)``."""

    def make(count, height, width):
        images = 0.1 + 0.05 * torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count))
        for number, image in enumerate(images):
            top, left = height // 5 + number, width // 5 + number
            image[:, top : top + height // 2, left : left + width // 2] += 0.6
        return images

    return make


@pytest.fixture
def images(make_images):
    return make_images(8, 96, 80)


@pytest.fixture
def texture_root(tmp_path):
    """Three textures of different sizes and modes, one of them in a subfolder."""
    generator = np.random.default_rng(0)
    (tmp_path / "fine").mkdir()
    for name, shape in (("a.png", (50, 70, 3)), ("fine/b.JPG", (90, 40, 3)), ("grey.bmp", (64, 64))):
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no texture")
    return tmp_path
