# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Images with an object on a plain background, and a folder of textures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

MakeImages = Callable[[int, int, int], Tensor]


@pytest.fixture
def make_images() -> MakeImages:
    """Noisy bright rectangles, each in another place, on dark ground: ``(count, 3, height, width)``."""

    def make(count: int, height: int, width: int) -> Tensor:
        images = 0.1 + 0.05 * torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count))
        for number, image in enumerate(images):
            top, left = height // 5 + number, width // 5 + number
            image[:, top : top + height // 2, left : left + width // 2] += 0.6
        return images

    return make


@pytest.fixture
def images(make_images: MakeImages) -> Tensor:
    """Eight such images of 96 x 80."""
    return make_images(8, 96, 80)


@pytest.fixture
def texture_root(tmp_path: Path) -> Path:
    """Three textures of different sizes and modes, one of them in a subfolder."""
    generator = np.random.default_rng(0)
    (tmp_path / "fine").mkdir()
    for name, shape in (("a.png", (50, 70, 3)), ("fine/b.JPG", (90, 40, 3)), ("grey.bmp", (64, 64))):
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no texture")
    return tmp_path
