# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import timm
import torch
from anomalib.data.utils.tiler import Tiler
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch.testing import assert_close

from anomalib_plugins.components import backbone as backbones
from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.models.cutswap_patchcore.torch_model import CutSwapPatchcoreModel, PretextHead

SIZE = (64, 96)


def images(count, seed=0):
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def twins(backbone="resnet18", layers=("layer2", "layer3"), neighbors=9):
    """Ours with a full bank, and anomalib's with the same weights and patches."""
    torch.manual_seed(0)
    ours = CutSwapPatchcoreModel(backbone, layers, neighbors).eval()
    theirs = PatchcoreModel(list(layers), backbone, pre_trained=False, num_neighbors=neighbors).eval()
    extractor = theirs.feature_extractor.feature_extractor
    missing, _ = extractor.load_state_dict(ours.backbone.network.state_dict(), strict=False)
    assert not [name for name in missing if not name.startswith("head.")]
    with torch.no_grad():
        patches = ours.embed(images(4))[0].flatten(2).transpose(1, 2).flatten(0, 1)
        ours.banks[0].fill(patches, 60)
    theirs.memory_bank = ours.banks[0].vectors + ours.banks[0].centre
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        ("resnet18", ("layer2", "layer3")),
        ("resnet18", ("layer1", "layer3")),
        ("resnet18", ("layer2",)),
        ("mobilenetv2_100", ("blocks.2", "blocks.4")),
        ("vit_tiny_patch16_224", ("blocks.2", "blocks.5")),
    ],
)
def test_features_are_anomalibs(backbone, layers):
    ours, theirs = twins(backbone, layers)
    batch = images(2, seed=1)
    features = theirs.feature_extractor(ours.backbone.normalize(batch))
    assert_close(ours.backbone.features(batch), [features[layer] for layer in layers], rtol=0, atol=0)
    assert ours.backbone.channels == sum(features[layer].shape[1] for layer in layers)


@torch.no_grad()
def test_tiles_as_large_as_the_image_change_nothing():
    ours, _ = twins()
    batch = images(2, seed=1)
    expected = ours(batch)
    ours.tiler = Tiler(tile_size=SIZE, stride=SIZE)
    assert_close(ours(batch), expected)
    ours.tiler = Tiler(tile_size=(32, 32), stride=(32, 32))
    assert ours(batch).anomaly_map.shape == (2, 1, *SIZE)


@torch.no_grad()
def test_stages_after_the_last_layer_are_not_run():
    ours = Backbone(layers=("layer3", "layer1"))
    ours.network.layer4.register_forward_hook(lambda *_: pytest.fail("layer4 ran"))
    ours.features(images(1))


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100"])
def test_width_is_that_of_the_pooled_features(name):
    backbone = Backbone(name, layers=(timm.create_model(name).feature_info[1]["module"],)).eval()
    assert backbone(images(2)).shape == (2, backbone.width)


def test_layers_default_to_the_stages_of_the_strides():
    assert Backbone().layers == ("layer2", "layer3")
    assert Backbone("tf_efficientnet_lite0").layers == ("blocks.2", "blocks.4")
    assert Backbone(strides=(4, 8, 16)).layers == ("layer1", "layer2", "layer3")
    with pytest.raises(
        ValueError, match=r"vit_tiny_patch16_224 has no stages of strides 8, 16: name layers, of blocks.0"
    ):
        Backbone("vit_tiny_patch16_224")


def test_images_are_normalised_as_the_weights_expect():
    image = torch.full((1, 3, 2, 2), 0.75)
    assert_close(Backbone("tf_efficientnet_lite0").normalize(image), torch.full((1, 3, 2, 2), 0.5))
    imagenet = (image - torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)) / torch.tensor((0.229, 0.224, 0.225)).view(
        3, 1, 1
    )
    assert torch.equal(Backbone("resnet18").normalize(image), imagenet)


@pytest.mark.parametrize("layers", [(), ("layer5",), ("layer2", "layer2")])
def test_layers_must_be_stages_of_the_network(layers):
    with pytest.raises(ValueError, match="layers must be different ones of act1, layer1, layer2, layer3, layer4"):
        Backbone(layers=layers)


# Weights


def test_weights_that_only_timm_has_and_that_cannot_be_had_are_said(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError

    backbone = Backbone("mobilenetv2_100", layers=("blocks.2",))
    monkeypatch.setattr(backbones.timm, "create_model", offline)
    with pytest.raises(
        FileNotFoundError, match=r"no ImageNet weights for mobilenetv2_100 .* name a file with `weights`"
    ):
        backbone.load()


def test_weights_of_an_installed_package_are_loaded_before_any_download(monkeypatch):
    backbone = Backbone("tf_efficientnet_lite0")
    monkeypatch.setattr(timm.models, "load_pretrained", lambda *_, **__: pytest.fail("timm was asked"))
    before = backbone.network.conv_stem.weight.clone()
    backbone.load()
    assert not torch.equal(backbone.network.conv_stem.weight, before)


def test_weights_that_only_timm_has_are_loaded(monkeypatch):
    backbone, given = (Backbone("mobilenetv2_100", layers=("blocks.2",)) for _ in range(2))
    monkeypatch.setattr(backbones.timm, "create_model", lambda *args, **kwargs: given.network)
    backbone.load()
    assert_close(backbone.state_dict(), given.state_dict(), rtol=0, atol=0)


# Head


def test_head_is_the_papers_perceptron():
    head = PretextHead()
    assert [tuple(each.weight.shape) for each in head if hasattr(each, "in_features")] == [
        (512, 512),
        (128, 512),
        (3, 128),
    ]
