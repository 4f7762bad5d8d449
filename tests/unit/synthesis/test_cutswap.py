# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from itertools import starmap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_plugins.synthesis import CutSwap
from anomalib_plugins.synthesis.patches import margins, move

from ...refusals import refusals
from .conftest import distinct, seeded

OVERLAPS = ["prefer_disjoint", "allow", "require_disjoint"]


def swapped(image, shape, first, second):
    """What crop, crop, paste, paste makes of an image ``(3, H, W)``."""
    one, other = ((slice(None), slice(y, y + shape[0]), slice(x, x + shape[1])) for y, x in (first, second))
    result = image.clone()
    result[one] = image[other]
    result[other] = image[one]
    return result


sizes = {"height": st.integers(32, 90), "width": st.integers(32, 90), "seed": st.integers(0, 2**31)}


@settings(max_examples=40, deadline=None)
@given(**sizes, overlap=st.sampled_from(OVERLAPS))
def test_a_swap_matches_crop_crop_paste_paste(height, width, seed, overlap):
    images = distinct(4, height, width)
    maker = CutSwap(overlap=overlap)
    shapes, corners, _ = maker.places(4, images.shape[-2:], seeded(seed))
    expected = map(swapped, images, shapes.tolist(), *corners.transpose(0, 1).tolist())
    assert torch.equal(maker(images, seeded(seed)).image, torch.stack(list(expected)))


def test_colours_are_only_moved_and_a_second_swap_moves_them_back():
    images, maker = distinct(6, 64, 80), CutSwap(overlap="require_disjoint")
    batch = maker(images, seeded(3))
    assert torch.equal(batch.image.flatten(2).sort().values, images.flatten(2).sort().values)
    assert not torch.equal(batch.image, images)
    assert torch.equal(maker(batch.image, seeded(3)).image, images)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(32, 300),
    width=st.integers(32, 300),
    seed=st.integers(0, 2**31),
    mode=st.sampled_from(["patch", "scar"]),
    overlap=st.sampled_from(OVERLAPS),
)
def test_patches_lie_in_the_image_and_disjoint_where_that_is_required(height, width, seed, mode, overlap):
    size = torch.Size((height, width))
    candidates = torch.zeros(5, height, width, dtype=torch.bool)
    candidates[:3, height // 2, :20:3] = candidates[3:, -1, -2:] = True
    shapes, corners, degrees = CutSwap(mode, overlap).places(5, size, seeded(seed), candidates)
    reach = margins(shapes, degrees)
    assert (corners - reach[:, None] >= 0).all()
    assert (corners + (shapes + reach)[:, None] <= torch.tensor(list(size))).all()
    if overlap == "require_disjoint":
        apart = (corners[:, 0] - corners[:, 1]).abs() >= shapes + 2 * reach
        assert apart.any(dim=1).all()


@pytest.mark.parametrize("mode", ["patch", "scar"])
def test_anchors_are_two_different_candidates(mode):
    size = torch.Size((128, 128))
    candidates = torch.zeros(40, *size, dtype=torch.bool)
    candidates[:, 40:44, 30:60] = torch.rand(40, 4, 30, generator=seeded()) < 0.2
    _, corners, _ = CutSwap(mode, "allow").places(40, size, seeded(), candidates)
    for mask, (first, second) in zip(candidates, corners.tolist(), strict=True):
        assert mask[tuple(first)]
        assert mask[tuple(second)]
        assert first != second


def test_all_pairs_of_candidates_are_equally_likely():
    size = torch.Size((64, 64))
    candidates = torch.zeros(6000, *size, dtype=torch.bool)
    candidates[:, [9, 9, 20], [7, 30, 7]] = True
    _, corners, _ = CutSwap("scar", "allow").places(6000, size, seeded(), candidates)
    pairs = corners.flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(pairs) == 6
    assert (pairs - 1000).abs().max() < 150


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_candidates_count_as_all(count):
    images = distinct(3, 64, 64)
    candidates = torch.zeros(3, 64, 64, dtype=torch.bool)
    candidates[:, 5, :count] = True
    expected = CutSwap()(images, seeded())
    assert all(starmap(torch.equal, zip(CutSwap()(images, seeded(), candidates=candidates), expected, strict=True)))


def test_disjoint_patches_are_preferred_but_not_at_the_price_of_their_size():
    size, generator = torch.Size((256, 256)), seeded()

    def overlapping(maker, candidates):
        shapes, corners, _ = maker.places(300, size, generator, candidates)
        touching = ((corners[:, 0] - corners[:, 1]).abs() < shapes).all(dim=1)
        return touching.double().mean().item(), shapes.double().prod(dim=1).mean().item() / 256**2

    blob = torch.zeros(300, *size, dtype=torch.bool)
    blob[:, 100:136, 100:136] = True  # 2 % of the image
    everywhere, small = (overlapping(CutSwap(), each) for each in (None, blob))
    assert everywhere[0] < 0.01
    assert small[0] > 0.85
    assert small[1] == pytest.approx(0.085, abs=0.01)
    shrunk = overlapping(CutSwap(overlap="require_disjoint"), blob)
    assert shrunk[0] == 0
    assert shrunk[1] < 0.04
    assert overlapping(CutSwap(overlap="allow"), None)[0] > 0.1


def test_scars_are_turned_by_up_to_45_degrees_each_by_its_own_angle():
    shapes, _, degrees = CutSwap("scar").places(2000, torch.Size((256, 256)), seeded())
    assert degrees.abs().max() <= 45
    assert degrees.min() < -43
    assert degrees.max() > 43
    assert degrees.T.corrcoef()[0, 1].abs() < 0.1
    assert shapes[:, 0].max() <= 25
    assert not CutSwap("patch").places(5, torch.Size((256, 256)), seeded())[2].any()


def test_scars_match_two_rectangles_turned_by_their_own_angles():
    images, maker = distinct(8, 256, 256), CutSwap("scar", "require_disjoint")
    shapes, corners, degrees = maker.places(8, images.shape[-2:], seeded())
    expected = images.clone().flatten(2)
    for number, ((first, second), shape, angles) in enumerate(
        zip(corners.tolist(), shapes.tolist(), degrees.tolist(), strict=True)
    ):
        for source, target, angle in ((second, first, angles[0]), (first, second, angles[1])):
            part = move(source, target, shape, angle, (256, 256))
            expected[number, :, part.target] = images[number].flatten(1)[:, part.source]
    assert torch.equal(maker(images, seeded()).image, expected.view_as(images))


def test_same_seed_same_anomalies_and_another_seed_others():
    images = distinct(4, 64, 64)
    for mode in ("patch", "scar"):
        first, again, other = (CutSwap(mode)(images, seeded(seed)) for seed in (3, 3, 4))
        assert all(starmap(torch.equal, zip(first, again, strict=True)))
        assert not torch.equal(first.image, other.image)


test_refuses_options_that_cannot_be = refusals(
    CutSwap,
    ({"mode": "3way"}, "mode must be one of patch, scar, got '3way'"),
    ({"overlap": "never"}, "overlap must be one of prefer_disjoint, allow, require_disjoint, got 'never'"),
    ({"patch_jitter": 0.6}, r"patch_jitter must be in \[0, 0.5\], got 0.6"),
    ({"patch_jitter": -0.1}, r"patch_jitter must be in \[0, 0.5\], got -0.1"),
)


@pytest.mark.parametrize("candidates", [torch.ones(2, 64, 64), torch.ones(2, 1, 64, 64, dtype=torch.bool)])
def test_refuses_candidates_of_another_shape_or_type(candidates):
    with pytest.raises(ValueError, match=r"expected boolean candidates \(2, 64, 64\), got"):
        CutSwap()(distinct(2, 64, 64), candidates=candidates)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["patch", "scar"])
def test_a_gpu_makes_the_same_anomalies(mode):
    images = distinct(4, 64, 64)
    made = CutSwap(mode)(images.cuda(), seeded(), candidates=torch.ones(4, 64, 64, dtype=torch.bool, device="cuda"))
    assert all(
        torch.equal(there.cpu(), here) for there, here in zip(made, CutSwap(mode)(images, seeded()), strict=True)
    )
