# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from itertools import product, starmap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_plugins.synthesis import LOGICAL, NORMAL, STRUCTURAL, CutPaste, CutSwap, MergedTexture, SimulatedAnomaly

from .conftest import distinct, seeded

MODES, OVERLAPS = ("patch", "scar"), ("prefer_disjoint", "allow", "require_disjoint")
FOREGROUNDS = ("auto", "none")
MAKERS = [
    *(CutSwap(mode, overlap, jitter) for mode, overlap in product(MODES, OVERLAPS) for jitter in (0.0, 0.1)),
    *starmap(CutPaste, product(MODES, (0.0, 0.1, 0.5))),
    *(
        SimulatedAnomaly(mask_shape=shape, foreground=where)
        for shape in ("perlin", "rect")
        for where in ("auto", "none")
    ),
    *(MergedTexture(source=source, foreground=where) for source in ("texture", "pool") for where in ("auto", "none")),
]
CONTENTS = {
    "distinct": distinct,
    "noise": lambda *size: torch.rand(size[0], 3, *size[1:], generator=seeded()),
    "grey": lambda *size: torch.full((size[0], 3, *size[1:]), 0.5),
    "black": lambda *size: torch.zeros(size[0], 3, *size[1:]),
    "white": lambda *size: torch.ones(size[0], 3, *size[1:]),
    "two equal halves": lambda *size: (torch.arange(size[2]) < size[2] // 2).float().expand(size[0], 3, *size[1:]),
}
ANCHORS = {
    "anywhere": lambda places: None,
    "few": lambda places: torch.rand(places.shape, generator=seeded()) < 0.01,
    "a corner": lambda places: places.index_fill(1, torch.tensor([0]), value=True),
    "none": lambda places: places,
}


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: type(maker).__name__)
@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 4),
    height=st.integers(32, 90),
    width=st.integers(32, 90),
    seed=st.integers(0, 2**31),
    content=st.sampled_from(sorted(CONTENTS)),
    anchors=st.sampled_from(sorted(ANCHORS)),
)
def test_masks_are_exactly_the_changed_pixels(maker, count, height, width, seed, content, anchors):
    images, patches = CONTENTS[content](count, height, width), isinstance(maker, CutSwap | CutPaste)
    before, options = images.clone(), {}
    if isinstance(maker, CutSwap):
        options = {"candidates": ANCHORS[anchors](torch.zeros(count, height, width, dtype=torch.bool))}
    batch = maker(images, seeded(seed), **options)
    changed = (batch.image != images).any(dim=1, keepdim=True)
    assert torch.equal(images, before)
    assert torch.equal(changed.float(), batch.mask)
    assert torch.equal(changed.flatten(1).any(dim=1), batch.kind != NORMAL)
    assert set(batch.kind.tolist()) <= ({NORMAL, STRUCTURAL} if patches else {STRUCTURAL, LOGICAL})
    assert batch.image.min() >= 0
    assert batch.image.max() <= 1
