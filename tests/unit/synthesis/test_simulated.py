# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from itertools import starmap

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from anomalib_plugins.synthesis import STRUCTURAL, SimulatedAnomaly, simulated
from anomalib_plugins.synthesis.patches import blend, read

from ...refusals import refusals
from .conftest import faintest, seeded


def test_rounding_of_a_white_background_is_no_anomaly(images):
    white = images.where(images > 0.5, 1.0)
    batch = SimulatedAnomaly(use_structural=False, foreground="none", minimum_change=0)(white, seeded())
    visible = (batch.image - white).abs().amax(dim=1, keepdim=True) > 0.5 / 255
    assert torch.equal(visible.float(), batch.mask)
    assert torch.equal((batch.image != white).any(dim=1, keepdim=True), visible)


@pytest.mark.parametrize("least", [0.05, 0.12, 0.3])
def test_every_part_of_an_anomaly_can_be_seen(images, least):
    batch = SimulatedAnomaly(minimum_change=least)(images, seeded())
    assert torch.equal((batch.image != images).any(dim=1, keepdim=True).float(), batch.mask)
    assert faintest(batch, images) > 0.5 * least  # once more than less is gone around it
    assert faintest(SimulatedAnomaly(minimum_change=0)(images, seeded()), images) < 0.5 * least


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0.05), (1, 0.4, 1)])
def test_structural_anomalies_become_scratches(share, least, most):
    images = torch.rand(64, 3, 128, 128, generator=seeded())
    anomaly = SimulatedAnomaly(use_logical=False, structural_scratches=share, foreground="none", minimum_change=0)
    thickest = [ndimage.distance_transform_edt(mask[0]).max() for mask in anomaly(images, seeded()).mask.numpy()]
    assert least <= np.mean(np.array(thickest) <= 2) <= most


def test_anomalies_lie_on_the_object(make_images):
    images = make_images(8, 128, 128)
    anomaly = SimulatedAnomaly()
    assert (anomaly(images, seeded()).mask <= anomaly.foreground(images)).all()
    everywhere = SimulatedAnomaly(foreground="none")(images, seeded())
    assert (everywhere.mask > anomaly.foreground(images)).any()


def test_an_opaque_logical_anomaly_is_the_other_image(monkeypatch):
    monkeypatch.setattr(simulated, "SOURCE_CHANGE_PROBABILITY", 0.0)
    images = torch.rand(2, 3, 64, 48, generator=seeded())
    anomaly = SimulatedAnomaly(use_structural=False, logical_rotation=False, logical_delta=(1, 1), foreground="none")
    batch = anomaly(images, seeded())
    assert torch.equal(batch.image, torch.where(batch.mask.bool(), images.flip(0), images))


def test_logical_anomalies_copy_from_the_pool(monkeypatch):
    monkeypatch.setattr(simulated, "SOURCE_CHANGE_PROBABILITY", 0.0)
    images, pool = torch.rand(3, 3, 40, 40, generator=seeded()), torch.full((1, 3, 40, 40), 0.25)
    anomaly = SimulatedAnomaly(use_structural=False, logical_delta=(0.5, 0.5), foreground="none")
    batch = anomaly(images, seeded(), pool)
    for row, column in batch.mask[0, 0].nonzero()[:50].tolist():
        for channel in range(3):
            expected = 0.5 * 0.25 + 0.5 * images[0, channel, row, column].item()
            assert batch.image[0, channel, row, column].item() == pytest.approx(expected, abs=1e-5)


def test_blending_matches_a_pixel_loop_and_keeps_in_the_mask_what_changed():
    image, source = torch.rand(2, 3, 40, 50, generator=seeded())
    mask = (torch.rand(1, 40, 50, generator=seeded()) > 0.7).float()
    source[:, :20] = image[:, :20]
    mixed, kept, place = torch.empty_like(image), torch.empty_like(mask), mask.flatten().nonzero()[:, 0]
    count = blend(image, mixed, kept, place, read(source, place), 0.3)
    for row in range(40):
        for column in range(50):
            painted = bool(mask[0, row, column])
            assert bool(kept[0, row, column]) == (painted and row >= 20)
            for channel in range(3):
                before, paint = image[channel, row, column].item(), source[channel, row, column].item()
                expected = 0.3 * paint + 0.7 * before if painted else before
                assert mixed[channel, row, column].item() == pytest.approx(expected, abs=1e-6)
    assert count == kept.sum()


def test_opacities_are_those_of_the_paper():
    anomaly = SimulatedAnomaly()
    logical = anomaly._delta(torch.ones(4000, dtype=torch.bool), seeded())
    assert 0.75 <= logical.min() < 0.76
    assert 0.99 < logical.max() <= 1
    structural = anomaly._delta(torch.zeros(4000, dtype=torch.bool), seeded())
    faint = structural.eq(0.25)
    assert faint.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert 0.1 < structural[~faint].min() < 0.11
    assert structural[~faint].mean().item() == pytest.approx(0.55, abs=0.02)


@pytest.mark.parametrize(("source", "share"), [("texture", 1.0), ("self", 0.0), ("both", 0.5)])
def test_structural_sources_can_be_textures_or_the_image_itself(source, share, monkeypatch):
    monkeypatch.setattr(simulated, "random_textures", lambda _, n, size, __: np.full((n, *size, 3), 255, np.uint8))
    monkeypatch.setattr(simulated, "self_patches", lambda images, _: torch.zeros_like(images))
    anomaly = SimulatedAnomaly(use_logical=False, structural_source=source, foreground="none", minimum_change=0)
    batch = anomaly(torch.full((400, 3, 32, 32), 0.5), seeded())
    textured = (batch.image > 0.5).flatten(1).any(dim=1).float().mean().item()
    assert textured == pytest.approx(share, abs=0.1 if source == "both" else 0)


def test_a_logical_source_that_looks_the_same_becomes_a_texture(monkeypatch):
    monkeypatch.setattr(simulated, "SOURCE_CHANGE_PROBABILITY", 0.0)
    images = torch.full((3, 3, 48, 48), 0.5)
    batch = SimulatedAnomaly(use_structural=False)(images, seeded())
    assert (batch.kind == STRUCTURAL).all()
    assert batch.mask.sum(dim=(1, 2, 3)).min() >= 1


def test_a_blurred_white_source_stays_white(monkeypatch):
    monkeypatch.setattr(simulated, "SOURCE_CHANGE_PROBABILITY", 1.0)
    for width in range(32, 64):
        black, white = torch.zeros(2, 3, 32, width), torch.ones(1, 3, 32, width)
        assert SimulatedAnomaly()._logical_sources(white, black, seeded()).max() <= 1


def test_paint_that_never_differs_ends_with_the_opposite(monkeypatch):
    black = torch.zeros(2, 3, 48, 48)
    monkeypatch.setattr(simulated, "random_textures", lambda _, n, size, __: np.zeros((n, *size, 3), np.uint8))
    batch = SimulatedAnomaly(use_logical=False, structural_source="texture")(black, seeded())
    assert_close(batch.image, 0.5 * batch.mask.expand(-1, 3, -1, -1))
    assert batch.mask.any()


@pytest.mark.parametrize("lower", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(images, lower):
    plain = SimulatedAnomaly()(images, seeded())
    with torch.autocast("cpu", dtype=lower):
        cast = SimulatedAnomaly()(images, seeded())
        assert torch.is_autocast_enabled("cpu")
    assert cast.image.dtype == torch.float32
    assert all(starmap(torch.equal, zip(plain, cast, strict=True)))


test_wrong_options_are_refused = refusals(
    SimulatedAnomaly,
    ({"logical_probability": 1.5}, r"logical_probability must be in \[0, 1\], got 1.5"),
    ({"structural_faint": -0.1}, r"structural_faint must be in \[0, 1\], got -0.1"),
    ({"structural_delta": (0.5, 0.2)}, r"structural_delta must be two numbers in \[0, 1\]"),
    ({"logical_delta": (0.0, 0.0)}, r"logical_delta must be two numbers in \[0, 1\]"),
    ({"mask_shape": "circle"}, "mask_shape must be one of perlin, rect, got 'circle'"),
    ({"structural_source": "none"}, "structural_source must be one of both, texture, self, got 'none'"),
    ({"use_structural": False, "use_logical": False}, "no anomaly is left to simulate"),
    ({"minimum_area": 0}, "minimum_area must be at least 1, got 0"),
    ({"foreground": "object"}, "unknown foreground 'object'"),
    ({"minimum_change": 0.5}, "minimum_change must be at least 0 and less than 0.5, got 0.5"),
    ({"minimum_change": -0.1}, "minimum_change must be at least 0"),
)


RGB = torch.zeros(2, 3, 64, 64)

test_wrong_images_are_refused = refusals(
    SimulatedAnomaly(),
    ({"images": RGB[0]}, r"expected RGB images \(N, 3, H, W\)"),
    ({"images": RGB[:, :1]}, r"expected RGB images \(N, 3, H, W\)"),
    ({"images": RGB[:0]}, "with N >= 1"),
    ({"images": RGB[:, :, :31]}, "at least 32 pixels per side"),
    ({"images": RGB.byte()}, "divide 8-bit images by 255"),
    ({"images": RGB, "pool": RGB[:, :, :32]}, r"the pool must hold images of shape \(3, 64, 64\) like the batch"),
    ({"images": RGB, "pool": RGB[:0]}, "the pool must hold images"),
)
