# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from anomalib_plugins.synthesis import Foreground

from ...refusals import refusals


def disc(height, width, radius):
    rows, columns = torch.arange(height)[:, None] - height // 2, torch.arange(width) - width // 2
    return (rows**2 + columns**2 < radius**2).float()


@pytest.mark.parametrize(
    ("ground", "thing"),
    [((0.8, 0.8, 0.8), (0.2, 0.2, 0.2)), ((0.1, 0.1, 0.1), (0.7, 0.6, 0.7)), ((0.6, 0.6, 0.6), (0.9, 0.55, 0.1))],
    ids=["darker", "brighter", "same grey, other colour"],
)
def test_auto_finds_the_object_whatever_its_colour(ground, thing):
    mask = disc(90, 120, 30)
    image = torch.lerp(torch.tensor(ground)[:, None, None], torch.tensor(thing)[:, None, None], mask)
    image = image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    found = Foreground()(image.clamp(0, 1)[None])
    assert found.shape == (1, 1, 90, 120)
    assert (found[0, 0].float() - mask).abs().mean() < 0.02


def test_auto_fills_holes():
    ring = disc(100, 100, 40) - disc(100, 100, 20)
    found = Foreground()((0.1 + 0.8 * ring).expand(1, 3, -1, -1))
    assert found[0, 0, 50, 50] == 1


@pytest.mark.parametrize("kind", ["noise", "constant", "tiny object", "all object"])
def test_an_image_without_a_plain_object_is_all_object(kind):
    image = {
        "noise": torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0)),
        "constant": torch.full((1, 3, 80, 80), 0.5),
        "tiny object": (0.2 + 0.7 * disc(80, 80, 8)).expand(1, 3, -1, -1),
        "all object": (0.2 + 0.7 * torch.nn.functional.pad(torch.ones(79, 80), (0, 0, 1, 0))).expand(1, 3, -1, -1),
    }[kind]
    assert Foreground()(image).all()


@pytest.mark.parametrize(("polarity", "inside"), [("brighter", 1.0), ("darker", 0.0)])
def test_threshold_takes_the_side_asked_for(polarity, inside):
    mask = disc(64, 64, 20)
    found = Foreground("threshold", 128, polarity)((0.3 + 0.4 * mask).expand(1, 3, -1, -1))
    assert torch.equal(found[0, 0].float(), mask if inside else 1 - mask)


def test_a_threshold_that_finds_nothing_finds_everything():
    assert Foreground("threshold", 250)(torch.full((1, 3, 40, 40), 0.5)).all()


def test_a_category_uses_its_threshold():
    mask = disc(64, 64, 20)
    image = (0.8 - 0.6 * mask).expand(1, 3, -1, -1)
    assert torch.equal(Foreground("screw")(image), Foreground("threshold", 110, "darker")(image))


test_wrong_options_are_refused = refusals(
    Foreground,
    ({"mode": "otsu"}, "unknown foreground 'otsu'; choose one of auto, threshold, none, hazelnut"),
    ({"mode": "threshold"}, 'threshold goes with mode "threshold" and only with it'),
    ({"threshold": 30}, 'threshold goes with mode "threshold" and only with it'),
    ({"mode": "threshold", "threshold": 256}, r"must be a grey value in \[0, 255\], got 256"),
    (
        {"mode": "threshold", "threshold": 30, "polarity": "lighter"},
        'polarity must be "brighter" or "darker", got \'lighter\'',
    ),
)
