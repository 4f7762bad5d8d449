# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from anomalib_plugins.models.cutswap_patchcore.anchors import Anchors, clusters, every_cluster
from anomalib_plugins.models.cutswap_patchcore.task import CutSwapTask
from anomalib_plugins.synthesis import CutPaste, CutSwap

SIZE = (40, 48)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(3, 3, *SIZE, generator=seeded())


# The task


@pytest.mark.parametrize("augmentation", ["cutswap", "cutpaste"])
def test_what_a_swap_leaves_as_it_was_is_whole(images, augmentation):
    images = torch.cat([images, torch.zeros(1, 3, *SIZE)])  # black has no colours to change
    versions, labels = CutSwapTask(augmentation)(images, seeded())
    positive = versions[:4].repeat(3, 1, 1, 1)
    unchanged = (versions == positive).flatten(1).all(dim=1)
    assert (labels == 0).equal(unchanged)
    assert labels.view(3, 4)[:, 3].tolist() == [0, 0, 0]


def test_versions_share_a_small_change_of_colours(images):
    positive, swapped, scarred = CutSwapTask()(images, seeded())[0].chunk(3)
    assert 0 < (positive - images).abs().mean() < 0.2
    for negative in (swapped, scarred):
        same = (negative == positive).all(dim=1).flatten(1).float().mean(dim=1)
        assert (same > 0.5).all()
        assert (same < 1).all()


def test_a_swap_keeps_the_pixels_and_a_paste_does_not(images):
    kept = []
    for augmentation in ("cutswap", "cutpaste"):
        positive, negative = CutSwapTask(augmentation, "binary")(images, seeded())[0].chunk(2)
        before, after = (each.flatten(1).sort(dim=1).values for each in (positive, negative))
        kept.append((before == after).all(dim=1))
    assert kept[0].any()  # all of whose patches do not overlap
    assert not kept[1].any()


def test_preview_shows_the_kinds_in_turn(images):
    made = CutSwapTask().preview(images, seeded())
    areas = made.mask.flatten(1).sum(dim=1)
    assert made.image.shape == images.shape
    assert areas[1] < areas[[0, 2]].min()  # a scar is smaller than a patch
    assert ((made.image != images).any(dim=1, keepdim=True) == made.mask.bool()).all()


def test_options_reach_the_generators():
    assert CutSwapTask(options={"overlap": "allow"}).makers[1].overlap == "allow"
    assert [type(maker) for maker in CutSwapTask("cutpaste").makers] == [CutPaste] * 2
    assert CutSwapTask().has_anchors
    assert isinstance(CutSwapTask().makers[0], CutSwap)
    assert not CutSwapTask("cutpaste").has_anchors


# Where patches may lie

LAYERS = 2
PATHS = ["b.png", "a.png", "c.png"]


def load(path):
    return torch.rand(3, *SIZE, generator=seeded(ord(path[0])))


def saliency(images):
    """Two maps: red and green."""
    return images[:, :LAYERS]


@pytest.fixture
def anchors():
    anchors = Anchors()
    anchors.gather(PATHS, load, saliency, batch_size=2)
    return anchors


@pytest.mark.parametrize("layer", [0, 1])
def test_anchors_are_the_most_salient_cluster_of_the_images_own_map(anchors, layer):
    for path in PATHS:
        mask, values = anchors([path], [layer])[0], load(path)[layer]
        assert 0.1 < mask.float().mean() < 0.4  # a quarter of uniform values, K = 4
        assert values[mask].min() > values[~mask].max()


def test_anchors_depend_on_the_files_alone(anchors):
    other = Anchors()
    other.gather(sorted(PATHS) * 2, load, saliency, batch_size=3)
    assert torch.equal(other(PATHS, [0, 1, 0]), anchors(PATHS, [0, 1, 0]))
    assert other.fingerprint == anchors.fingerprint is not None


def test_every_image_is_looked_at_once(capsys):
    seen = []
    Anchors().gather(PATHS * 2, lambda path: seen.append(path) or load(path), saliency)
    assert seen == sorted(PATHS)
    assert "Saliency of the training images" in capsys.readouterr().err


def test_options_choose_other_anchors():
    maps = torch.rand(1, 1, 32, 32, generator=seeded())
    most, least = (Anchors(cluster=which).of_maps(maps) for which in ("max", "min"))
    assert maps[most].min() > maps[least].max()
    assert Anchors(k=1).of_maps(maps).all()
    assert Anchors(strategy="topk").of_maps(maps).sum() == 300
    chosen = {int(Anchors(cluster="random").of_maps(maps, seeded(seed)).sum()) for seed in range(20)}
    assert len(chosen) == 4


def test_a_random_cluster_is_another_one_each_time_and_follows_the_seed():
    anchors = Anchors(cluster="random")
    anchors.gather(PATHS, load, saliency)
    generator = seeded()
    drawn = torch.cat([anchors(["a.png"], [1], generator) for _ in range(40)])
    expected = every_cluster(clusters(load("a.png")[None, 1:2], 4), 4)[0, 0]
    assert {each.numpy().tobytes() for each in drawn} == {each.numpy().tobytes() for each in expected}
    generator = seeded()
    assert torch.equal(torch.cat([anchors(["a.png"], [1], generator) for _ in range(40)]), drawn)
