# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import timm
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models import resnet18

from anomalib_plugins.models.slsg.encoder import SlsgEncoder, TimmEncoder


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return {name: value for name, value in resnet18(weights=None).state_dict().items() if not name.startswith("fc.")}


@pytest.fixture(scope="module")
def images():
    return torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))


def test_torchvision_and_timm_name_their_weights_alike(weights):
    timm_weights = timm.create_model("resnet18", pretrained=False, num_classes=0).state_dict()
    assert set(SlsgEncoder().state_dict()) == set(weights) == set(timm_weights)


def test_standard_stem_is_resnet18_without_pooling(weights, images):
    encoder = SlsgEncoder(stem="standard").eval()
    encoder.load_state_dict(weights)
    resnet = resnet18(weights=None).eval()
    resnet.load_state_dict(weights, strict=False)
    resnet.maxpool = torch.nn.Identity()
    seen = {}
    for name in ("relu", "layer1", "layer2", "layer3", "layer4"):
        getattr(resnet, name).register_forward_hook(lambda *args, name=name: seen.update({name: args[2]}))
    with torch.no_grad():
        resnet(images)
        assert_close(list(encoder(images)), list(seen.values()))


def test_reference_stem_feeds_the_raw_convolution_to_the_first_stage(weights, images):
    encoder = SlsgEncoder().eval()
    encoder.load_state_dict(weights)
    with torch.no_grad():
        raw = F.conv2d(images, weights["conv1.weight"], stride=2, padding=3)
        s0, f1, *_ = encoder(images)
        assert_close(f1, encoder.layer1(raw))
        assert_close(s0, encoder.bn1(raw).relu())


def test_bottleneck_has_a_sixteenth_of_the_images_sides():
    with torch.device("meta"):
        features = SlsgEncoder()(torch.empty(2, 3, 256, 256))
    assert [tuple(f.shape) for f in features] == [
        (2, 64, 128, 128),
        (2, 64, 128, 128),
        (2, 128, 64, 64),
        (2, 256, 32, 32),
        (2, 512, 16, 16),
    ]


def test_a_network_of_timm_gives_its_stages_of_stride_2_to_16(images):
    encoder = TimmEncoder("tf_efficientnet_lite0").eval()
    network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    network.load_state_dict(encoder.backbone.network.state_dict(), strict=False)
    with torch.no_grad():
        s0, *features = encoder(images)
        assert_close(features, network(images))
    assert s0 is features[0]
    assert encoder.channels == tuple(each.shape[1] for each in (s0, *features))


def test_a_network_without_a_stage_of_stride_2_is_refused():
    with pytest.raises(ValueError, match="convnext_atto has no stages of strides 2, 4, 8, 16"):
        TimmEncoder("convnext_atto")
