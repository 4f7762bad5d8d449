# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.synthesis import MergedTexture, merged
from anomalib_plugins.synthesis.merged import moved

from ...refusals import refusals
from .conftest import faintest, seeded


def test_anomalies_are_mixed_as_the_equation_says_pixel_by_pixel(images, monkeypatch):
    own, foreign = images.flip(3), torch.rand(images.shape, generator=seeded(1))
    monkeypatch.setattr(merged, "moved", lambda images, generator: own)
    monkeypatch.setattr(MergedTexture, "_foreign", lambda *_: foreign)
    batch = MergedTexture(delta=(0.3, 0.3))(images, seeded())
    for number, channel, row, column in batch.mask.nonzero()[::50].tolist():
        del channel
        expected = 0.3 * foreign[number, :, row, column] + 0.7 * own[number, :, row, column]
        assert_close(batch.image[number, :, row, column], expected)


def test_masks_are_those_of_draem():
    """Mean area of masks with at least 49 pixels, over 600 draws."""
    masks = MergedTexture(source="pool")(torch.rand(600, 3, 64, 64), seeded()).mask
    area = masks.mean(dim=(1, 2, 3))
    assert area[area >= 49 / 256**2].mean().item() == pytest.approx(0.050, rel=0.2)


def test_rounding_of_a_white_background_is_no_anomaly(images):
    white = images.where(images > 0.5, 1.0)
    batch = MergedTexture(source="pool")(white, seeded())
    visible = (batch.image - white).abs().amax(dim=1, keepdim=True) > 0.5 / 255
    assert torch.equal(visible.float(), batch.mask)


def test_anomalies_lie_on_the_object_if_asked_to(images):
    anomaly = MergedTexture(foreground="auto")
    assert (anomaly(images, seeded()).mask <= anomaly.foreground(images)).all()


def test_image_stays_moves_or_turns_a_third_of_the_time_each():
    rows, columns = torch.arange(32.0)[:, None], torch.arange(32.0)
    image = ((rows * 32 + columns) / 1024).expand(1, 3, 32, 32)
    results = moved(image.expand(600, 3, 32, 32), seeded())
    stays = (results == image).flatten(1).all(dim=1)
    shifts = ~stays & (results.flatten(1).sort(dim=1).values == image.flatten(1).sort(dim=1).values).all(dim=1)
    shares = torch.stack((stays, shifts, ~stays & ~shifts)).float().mean(dim=1)
    assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.06)
    top_left = (results[shifts][:, 0, 0, 0] * 1024).round().long()
    for shift in (-(top_left // 32) % 32, -top_left % 32):  # rows, columns
        assert 3 <= shift.min() <= 4
        assert 27 <= shift.max() <= 28


def test_foreign_pixels_come_from_another_image_of_the_pool():
    images, pool = torch.full((6, 3, 32, 32), 0.25), torch.full((3, 3, 32, 32), 0.75)
    batch = MergedTexture(source="pool", delta=(1, 1))(images, seeded(), pool=pool)
    painted = batch.image[batch.mask.expand_as(images).bool()]
    assert_close(painted, torch.full_like(painted, 0.75))


def test_half_precision_images_stay_half_precision():
    images = torch.rand(2, 3, 32, 32).bfloat16()
    batch = MergedTexture()(images, seeded())
    assert batch.image.dtype == batch.mask.dtype == torch.bfloat16
    assert torch.equal((batch.image != images).any(dim=1, keepdim=True), batch.mask.bool())


DELTA = r"delta must be two numbers in \[0, 1\]"

test_wrong_options_are_refused = refusals(
    MergedTexture,
    *(({"delta": delta}, DELTA) for delta in ((0.5,), (0.5, 0.2), (-0.1, 0.5), (0.5, 1.1), (0, 0))),
    ({"source": "sky"}, "source must be one of texture, pool, got 'sky'"),
)

test_textures_that_nothing_paints_with_are_refused = refusals(
    MergedTexture,
    ({"source": "pool", "texture_root": "."}, r'source="pool" uses no textures: remove it or texture_root='),
)


def test_anomalies_too_faint_to_be_seen_are_not_made(images):
    assert faintest(MergedTexture(delta=(0.02, 1), minimum_change=0)(images, seeded()), images) < 0.05
    batch = MergedTexture(delta=(0.02, 1))(images, seeded())
    assert faintest(batch, images) > 0.05
    assert batch.mask.flatten(1).any(dim=1).all()
