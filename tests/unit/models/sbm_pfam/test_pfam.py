# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor

from ....refusals import refusals

LAYERS = ("layer1", "layer2", "layer3")


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    return PfamExtractor("resnet18", init="random").eval()


@pytest.mark.parametrize(("backbone", "parameters"), [("resnet18", 520_136), ("wide_resnet50_2", 8_303_624)])
def test_it_has_as_many_parameters_as_the_equations(backbone, parameters):
    with torch.device("meta"):
        refine = PfamExtractor(backbone).refine
    assert sum(each.numel() for each in refine.parameters()) == parameters


@pytest.mark.parametrize(
    ("backbone", "layers", "refined"),
    [
        ("resnet18", LAYERS, ["layer1", "layer3"]),
        ("mobilenetv2_100", ("blocks.1", "blocks.2", "blocks.4"), ["blocks_1", "blocks_4"]),
        ("tf_efficientnet_lite0", ("blocks.2", "blocks.4"), ["blocks_4"]),
        ("vit_tiny_patch16_224", ("blocks.2", "blocks.5"), ["blocks_5"]),
    ],
)
@torch.no_grad()
def test_at_first_attention_changes_nothing_with_any_network(backbone, layers, refined, images):
    module = PfamExtractor(backbone, layers).eval()
    plain = PfamExtractor(backbone, layers, pfam=False).eval()
    plain.backbone.load_state_dict(module.backbone.state_dict())
    assert list(module.refine) == refined
    for got, expected in zip(module(images).items(), plain(images).items(), strict=True):
        assert got[0] == expected[0]
        assert_close(got[1], expected[1], rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_middle_map_is_untouched_and_the_others_follow_the_equations(extractor, images):
    low, middle, high = extractor.backbone.features(images)
    got = extractor(images)
    assert torch.equal(got["layer2"], middle)
    module = extractor.refine["layer1"]
    assert_close(got["layer1"], module.project(low) + module.attend(low))
    assert_close(got["layer3"], extractor.refine["layer3"](high))


def test_concat_doubles_the_channels_of_the_low_map(images):
    module = PfamExtractor("resnet18", combine="concat").eval()
    assert module(images)["layer1"].shape[1] == module.out_dims[0] == 128


def test_the_detectors_loss_trains_the_attention_and_not_the_backbone(images):
    module = PfamExtractor("resnet18").eval()
    sum(each.square().sum() for each in module(images).values()).backward()
    assert all(each.grad is None for each in module.backbone.parameters())
    assert all(each.grad is not None for each in module.refine.parameters())


@torch.no_grad()
def test_the_pretext_can_end_at_a_stage(images):
    module = PfamExtractor("resnet18", LAYERS[:2], high="layer2", head="layer3").eval()
    means = [each.mean(dim=(2, 3)) for each in [*module(images).values(), module.backbone._maps(images, ["layer3"])[0]]]
    assert module.width == 64 + 128 + 256
    assert_close(module.pooled(images), torch.cat(means, dim=1))
    assert_close(module.backbone(images), means[2])


@pytest.mark.parametrize("frozen", [False, True])
def test_the_pretext_trains_the_backbone_unless_frozen(images, frozen):
    module = PfamExtractor("resnet18").eval()
    module.pooled(images, frozen).sum().backward()
    assert all((each.grad is None) == frozen for each in module.backbone.parameters())
    assert all(each.grad is not None for each in module.refine.parameters())


@torch.no_grad()
def test_pooled_are_the_means_of_the_maps_and_what_the_network_ends_in(extractor, images):
    means = [each.mean(dim=(2, 3)) for each in extractor(images).values()]
    expected = torch.cat([*means, extractor.backbone(images)], dim=1)
    assert expected.shape[1] == extractor.width
    assert_close(extractor.pooled(images), expected)


def test_features_come_in_the_order_of_the_layers(images):
    turned, straight = Backbone("resnet18", LAYERS[::-1]).eval(), Backbone("resnet18", LAYERS).eval()
    straight.load_state_dict(turned.state_dict())
    with torch.no_grad():
        assert_close(turned.features(images), straight.features(images)[::-1], rtol=0, atol=0)
        assert_close(turned.features_and_pooled(images)[0], turned.features(images), rtol=0, atol=0)


test_impossible_options_are_refused = refusals(
    partial(PfamExtractor, backbone="resnet18"),
    ({"combine": "max"}, "combine must be one of sum, concat, got 'max'"),
    ({"init": "zero"}, "init must be one of identity, random, got 'zero'"),
    ({"layers": ["layer2"]}, r"at least one of them among the layers \('layer2',\), got low=None and high=None"),
    ({"low": "layer77"}, r"low and high must be stages of resnet18, .* got \['layer77'\]"),
    ({"low": "layer3"}, r"PFAM needs two different stages .* got low='layer3' and high='layer3'"),
    ({"head": "layer9"}, "head_layer must be one of act1, layer1, .*, got 'layer9'"),
    ({"layers": ["layer9"]}, r"layers must be different ones of act1, layer1, layer2, layer3, layer4"),
    ({"backbone": "resnet19"}, "timm has no network 'resnet19'; did you mean 'resnet1"),
)
