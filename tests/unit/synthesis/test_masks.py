# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Shapes of anomalies."""

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from anomalib_plugins.synthesis.masks import (
    LOGICAL_STYLE,
    STRUCTURAL_STYLE,
    MaskStyle,
    perlin_masks,
    place_masks,
    rectangle_masks,
)

SIX_OCTAVES = MaskStyle(octaves=6, threshold=0.5, rectangles=1, side=(0.1, 0.2))


@pytest.mark.parametrize(
    ("style", "accepted", "area", "blobs"),
    [(SIX_OCTAVES, 0.95, 0.050, 27), (STRUCTURAL_STYLE, 0.90, 0.054, 4.3), (LOGICAL_STYLE, 0.88, 0.108, 2.2)],
)
def test_statistics_of_perlin_masks(style: MaskStyle, accepted: float, area: float, blobs: float) -> None:
    masks = perlin_masks([style] * 600, (256, 256), torch.Generator().manual_seed(0))
    kept = masks[masks.sum(dim=(1, 2, 3)) >= 49]
    assert len(kept) / 600 == pytest.approx(accepted, rel=0.2)
    assert kept.mean().item() == pytest.approx(area, rel=0.2)
    counts = [ndimage.label(mask[0].numpy(), structure=[[1] * 3] * 3)[1] for mask in kept]
    assert sum(counts) / len(counts) == pytest.approx(blobs, rel=0.2)


@pytest.mark.parametrize("make", [perlin_masks, rectangle_masks])
def test_masks_are_binary_and_reproducible(make) -> None:
    styles = [STRUCTURAL_STYLE, LOGICAL_STYLE, SIX_OCTAVES] * 3
    first, second = (make(styles, (50, 90), torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == (9, 1, 50, 90)
    assert set(first.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(first, second)


def test_one_rectangle_has_the_sides_of_its_style() -> None:
    style = MaskStyle(octaves=1, threshold=0.5, rectangles=1, side=(0.15, 0.50))
    for mask in rectangle_masks([style] * 200, (100, 200), torch.Generator().manual_seed(0))[:, 0]:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert 15 <= height <= 50
        assert 30 <= width <= 100
        assert mask.sum() == height * width


def test_several_rectangles_are_drawn_but_not_more_than_allowed() -> None:
    style = MaskStyle(octaves=1, threshold=0.5, rectangles=4, side=(0.02, 0.03))
    masks = rectangle_masks([style] * 300, (200, 200), torch.Generator().manual_seed(0))
    counts = {ndimage.label(mask[0].numpy())[1] for mask in masks}
    assert counts == {1, 2, 3, 4}


def test_masks_are_redrawn_only_where_the_object_was_missed() -> None:
    foreground = torch.zeros(3, 1, 40, 40)
    foreground[:, :, :, :20] = 1
    calls: list[list[int]] = []

    def draw(which: Tensor) -> Tensor:
        calls.append(which.tolist())
        masks = torch.zeros(len(which), 1, 40, 40)
        hits = [number != 1 or len(calls) == 4 for number in which.tolist()]
        for mask, hit in zip(masks, hits, strict=True):
            mask[:, 10:20, 10:30] = 1 if hit else 0
        return masks

    masks = place_masks(draw, foreground, 49)
    assert calls == [[0, 1, 2], [1], [1], [1]]
    assert (masks.sum(dim=(1, 2, 3)) == 100).all()
    assert (masks <= foreground).all()


def test_an_object_that_is_never_hit_is_ignored_after_twenty_draws() -> None:
    calls = []

    def draw(which: Tensor) -> Tensor:
        calls.append(len(which))
        masks = torch.zeros(len(which), 1, 32, 32)
        masks[..., 10:20, 10:20] = 1
        return masks

    masks = place_masks(draw, torch.zeros(2, 1, 32, 32), 49)
    assert calls == [2] * 21
    assert (masks.sum(dim=(1, 2, 3)) == 100).all()


def test_draws_that_are_always_empty_end_with_the_middle_of_the_image() -> None:
    masks = place_masks(lambda which: torch.zeros(len(which), 1, 33, 60), torch.ones(2, 1, 33, 60), 1)
    assert masks[..., 11:22, 20:40].all()
    assert masks.sum() == 2 * 11 * 20
