# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0


import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """MVTec AD layout: 10 training, 4 good and 3 scratched test photos of two sizes."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, count in (("train/good", 10), ("test/good", 4), ("test/scratch", 3), ("ground_truth/scratch", 3)):
        (folder / "part" / name).mkdir(parents=True)
        for i in range(count):
            height = 48 if i % 2 else 64
            pixels = rng.integers(0, 256, (height, 64, 3), dtype=np.uint8)
            mask = "ground_truth" in name
            image = Image.fromarray(pixels[..., 0] // 255 * 255 if mask else pixels)
            image.save(folder / "part" / name / (f"{i}_mask.png" if mask else f"{i}.png"))
    return folder
