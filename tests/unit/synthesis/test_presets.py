# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pickle
from collections import Counter
from dataclasses import replace
from itertools import starmap

import cv2
import numpy as np
import pytest
import torch

from anomalib_plugins.synthesis import SimulatedAnomaly, simulated
from anomalib_plugins.synthesis.presets import (
    PRESETS,
    BrightObject,
    MaskRule,
    add_square,
    apply_rule,
    find_preset,
    keep_object,
    only_object,
)
from anomalib_plugins.synthesis.sources import Recipe, flip, logical_sources, repeat_middle_rows

from .conftest import seeded

presets = pytest.mark.parametrize("name", PRESETS)


def photographs(count, height=256, width=256):
    """A bright, coloured, noisy object in the middle of noise that is almost black."""
    images = 0.03 * torch.rand(count, 3, height, width, generator=seeded())
    inner = images[..., height // 8 : -(height // 8), width // 8 : -(width // 8)]
    inner += 0.2 + 0.6 * torch.rand(inner.shape, generator=seeded())
    return images


@presets
@pytest.mark.parametrize("size", [(256, 256), (96, 72)])
def test_every_preset_keeps_the_promises_of_every_generator(name, size):
    images = photographs(8, *size)
    before = images.clone()
    anomaly = SimulatedAnomaly(preset=name)
    for seed in range(3):
        batch = anomaly(images, seeded(seed))
        assert torch.equal(images, before)
        assert batch.image.min() >= 0
        assert batch.image.max() <= 1
        assert torch.equal((batch.image != images).any(dim=1, keepdim=True).float(), batch.mask)
        assert (batch.mask <= anomaly.foreground(images)).all()
        assert (batch.mask.sum(dim=(1, 2, 3)) >= find_preset(name).minimum_area * size[0] * size[1] / 256**2).all()
        assert all(starmap(torch.equal, zip(batch, anomaly(images, seeded(seed)), strict=True)))


@presets
def test_presets_travel_to_worker_processes(name):
    images = photographs(2, 64, 64)
    anomaly = SimulatedAnomaly(preset=name)
    copied = pickle.loads(pickle.dumps(anomaly))
    assert torch.equal(anomaly(images, seeded()).image, copied(images, seeded()).image)


@presets
def test_the_ways_of_a_preset_are_all_there_is(name):
    assert sum(way.probability for way in PRESETS[name].logical_recipes) == pytest.approx(1)


def test_an_unknown_preset_is_refused_with_the_names_of_all():
    with pytest.raises(ValueError, match=r"unknown preset 'juice'; choose one of .*" + ", ".join(PRESETS)):
        SimulatedAnomaly(preset="juice")


def test_arguments_that_are_given_win_over_the_preset():
    given = {
        "logical_rotation": True,
        "structural_delta": (0.2, 0.4),
        "structural_faint": 0.1,
        "logical_delta": (0.5, 0.6),
        "minimum_area": 99,
    }
    anomaly = SimulatedAnomaly(preset="juice_bottle", **given)
    assert {name: getattr(anomaly.settings, name) for name in given} == given
    assert anomaly.settings.logical_recipes == PRESETS["juice_bottle"].logical_recipes


@pytest.mark.parametrize(("erode", "dilate"), [((15, 15), (3, 3)), ((6, 13), (9, 15)), ((1, 1), (5, 5))])
def test_a_bright_object_is_what_opencv_makes_of_the_blue_channel(erode, dilate):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 15)
    level = int(np.median(picture[..., 2]))
    expected = cv2.erode((picture[..., 2] > level).astype(np.uint8), np.ones(erode, np.uint8))
    expected = cv2.dilate(expected, np.ones(dilate, np.uint8))
    assert 0 < expected.mean() < 1
    mask = BrightObject(level, erode, dilate)(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    assert torch.equal(mask[0, 0], torch.from_numpy(expected) > 0)


def test_the_added_square_spans_its_first_to_its_last_pixel():
    masks = torch.zeros(1, 1, 256, 256)
    masks[..., 0, 0] = 1
    added = add_square(masks, masks, first=140, last=204)
    expected = masks.clone()
    expected[..., 140:205, 140:205] = 1
    assert torch.equal(added, expected)
    assert masks.sum() == 1
    assert add_square(masks[..., :128, :], masks, first=140, last=204)[0, 0].nonzero()[1:].aminmax(
        dim=0
    ).min.tolist() == [70, 140]


def test_masks_may_keep_the_object_of_the_source_or_become_it():
    rule, sources = BrightObject(36, dilate=(5, 5)), photographs(3)
    masks = torch.rand(3, 1, 256, 256, generator=seeded()) > 0.5
    assert torch.equal(keep_object(masks, sources, rule), masks & rule(sources))
    assert torch.equal(only_object(masks, sources, rule), rule(sources))


def test_a_rule_changes_its_share_of_masks_and_leaves_structural_ones_alone_if_told():
    logical = torch.arange(4000) % 2 == 0
    sources, foreground = torch.zeros(4000, 3, 1, 1), torch.ones(4000, 1, 2, 2, dtype=torch.bool)
    for logical_only in (False, True):
        masks = torch.tensor([True, False, False, False]).view(1, 1, 2, 2).repeat(4000, 1, 1, 1)
        rule = MaskRule(0.2, lambda masks, _: ~masks, logical_only)
        apply_rule(rule, masks, list(sources), logical, foreground, 1, seeded())
        changed = ~masks[:, 0, 0, 0]
        assert changed[logical].float().mean().item() == pytest.approx(0.2, abs=0.03)
        assert changed[~logical].float().mean().item() == pytest.approx(0.0 if logical_only else 0.2, abs=0.03)


def test_a_rule_stays_on_the_foreground_and_never_leaves_too_small_a_mask():
    masks = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    masks[:, :, 0] = True
    foreground = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    foreground[0, :, :, 3:] = 0
    foreground[1, :, 1:] = 0
    foreground[1, :, :, 2:] = 0
    rule = MaskRule(1.0, lambda masks, _: torch.ones_like(masks))
    before = masks.clone()
    apply_rule(rule, masks, list(torch.zeros(2, 3, 4, 4)), torch.tensor([True, True]), foreground, 3, seeded())
    assert torch.equal(masks[0], foreground[0])
    assert torch.equal(masks[1], before[1])


def test_sources_are_made_in_the_shares_and_by_the_steps_of_their_ways():
    images, pool = torch.full((4000, 3, 1, 1), 0.25), torch.full((1, 3, 1, 1), 0.5)
    add = [lambda images, generator, by=by: images + by for by in (1, 2)]
    double = lambda images, generator: 2 * images  # noqa: E731
    ways = (Recipe(0.5, (add[0], double)), Recipe(0.2, (double, add[1]), other=True), Recipe(0.3, other=True))
    made = Counter(logical_sources(images, pool, ways, seeded())[:, 0, 0, 0].tolist())
    assert set(made) == {2.5, 3.0, 0.5}
    assert [made[value] / 4000 for value in (2.5, 3.0, 0.5)] == pytest.approx([0.5, 0.2, 0.3], abs=0.03)


def test_flips_and_repeated_rows():
    images = torch.rand(2, 3, 8, 5, generator=seeded())
    before = images.clone()
    assert torch.equal(flip(images, axis=2), images[:, :, [7, 6, 5, 4, 3, 2, 1, 0]])
    assert torch.equal(flip(images, axis=3), images[..., [4, 3, 2, 1, 0]])
    assert torch.equal(repeat_middle_rows(images), images[:, :, [2, 3, 2, 3, 4, 5, 4, 5]])
    assert torch.equal(repeat_middle_rows(images[:, :, :7]), images[:, :, [1, 1, 2, 2, 4, 5, 6]])
    assert torch.equal(images, before)


def test_three_in_four_logical_anomalies_of_pushpins_lie_where_the_source_is_bright(monkeypatch):
    monkeypatch.setattr(simulated, "SOURCE_CHANGE_PROBABILITY", 0.0)
    images = photographs(8).repeat(8, 1, 1, 1)
    bright = BrightObject(36, dilate=(5, 5))(images)  # all have the same outline
    anomaly = SimulatedAnomaly(preset="pushpins", use_structural=False, foreground="none", minimum_change=0)
    shares = []
    for rules in (anomaly.settings.mask_rules, ()):
        anomaly.settings = replace(anomaly.settings, logical_recipes=(Recipe(1.0, other=True),), mask_rules=rules)
        outside = anomaly(images, seeded()).mask * ~bright
        shares.append((outside.sum(dim=(1, 2, 3)) == 0).float().mean().item())
    with_rule, without = shares
    assert with_rule == pytest.approx(0.75 + 0.25 * without, abs=0.1)
    assert without < 0.5
