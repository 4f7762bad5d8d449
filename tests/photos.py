# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photos that tests draw."""

import numpy as np
from PIL import Image


def draw(path, rng, defect=False):
    """Save a bright disc on a dark ground, with a hole if defective; returns the hole's mask."""
    y, x = np.mgrid[:64, :64]
    disc = (x - rng.integers(28, 36)) ** 2 + (y - rng.integers(28, 36)) ** 2 < 24**2
    hole = disc & (x > rng.integers(24, 32)) & (y > rng.integers(24, 32)) & defect
    grey = np.where(disc & ~hole, 180, 40)[..., None] + rng.integers(-20, 20, (64, 64, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey.astype(np.uint8)).save(path)
    return hole
