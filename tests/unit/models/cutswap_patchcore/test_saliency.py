# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import copy
import math

import pytest
import timm
import torch
from pytorch_grad_cam import LayerCAM
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models import resnet18, squeezenet1_1, vgg16

from anomalib_plugins.models.cutswap_patchcore import saliency
from anomalib_plugins.models.cutswap_patchcore.saliency import VGG16_POOLS, LayerCam, vgg16_saliency

POOLS = ["features.2", "features.5"]


class TinyVgg(nn.Module):
    """VGG's parts under VGG's names."""

    def __init__(self, inplace=True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(inplace),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), *[nn.Identity() for _ in range(5)], nn.Linear(8, 5))

    def forward(self, images):
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@pytest.fixture
def network():
    return seeded(TinyVgg).double().eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 20, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def enlarged(small, height, width):
    """Bilinear, pixel by pixel: pixel centres lie half a pixel from the border."""
    large = torch.zeros(height, width, dtype=small.dtype)
    for row in range(height):
        for column in range(width):
            place = [(row + 0.5) * small.shape[0] / height - 0.5, (column + 0.5) * small.shape[1] / width - 0.5]
            y, x = (min(max(value, 0), side - 1) for value, side in zip(place, small.shape, strict=True))
            top, left = math.floor(y), math.floor(x)
            bottom, right = min(top + 1, small.shape[0] - 1), min(left + 1, small.shape[1] - 1)
            upper = small[top, left] * (1 - x + left) + small[top, right] * (x - left)
            lower = small[bottom, left] * (1 - x + left) + small[bottom, right] * (x - left)
            large[row, column] = upper * (1 - y + top) + lower * (y - top)
    return large


def loop(network, images, depth, target):
    """LayerCAM of one layer of a sequence, image by image and channel by channel."""
    maps = []
    for image in images:
        activation = network.features[: depth + 1](image[None])
        output = network.features[depth + 1 :](activation)
        (gradient,) = torch.autograd.grad(target(output), activation)
        small = torch.zeros(activation.shape[2:], dtype=images.dtype)
        for channel in range(activation.shape[1]):
            for row in range(small.shape[0]):
                for column in range(small.shape[1]):
                    slope = max(gradient[0, channel, row, column].item(), 0.0)
                    small[row, column] += activation[0, channel, row, column].item() * slope
        large = enlarged(small, *image.shape[1:])
        maps.append((large - large.min()) / (large.max() - large.min()))
    return torch.stack(maps)


def test_maps_of_a_class_match_a_loop(network, images):
    cam = LayerCam(network, POOLS)
    maps = cam(images)
    assert maps.shape == (3, 2, 20, 24)
    assert maps.dtype == torch.float32
    for number, depth in enumerate((2, 5)):
        slow = loop(network, cam.normalize(images), depth, lambda x: network.classifier(x.mean((2, 3))).max())
        assert_close(maps[:, number], slow.float(), atol=1e-6, rtol=0)


def test_maps_without_a_class_match_a_loop(network, images):
    cam = LayerCam(nn.Sequential(network.features), ["0.2", "0.5"], target="feature-energy")
    for number, depth in enumerate((2, 5)):
        slow = loop(network, cam.normalize(images), depth, lambda x: x.mean((2, 3)).square().sum() / 2)
        assert_close(cam(images)[:, number], slow.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda: squeezenet1_1(num_classes=7), ["features.2", "features.5", "features.8", "features.12"]),
        (lambda: resnet18(num_classes=7), ["maxpool", "layer1", "layer2.1", "layer4"]),
        (lambda: timm.create_model("mobilenetv3_small_050", num_classes=7), ["blocks.0", "blocks.2", "blocks.4"]),
    ],
    ids=["squeezenet", "resnet", "mobilenet, whose activations are negative too"],
)
def test_maps_match_a_library_that_runs_once_a_layer(make, layers):
    network = seeded(make).double().eval()
    pixels = torch.rand(2, 3, 64, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cam = LayerCam(network, layers)
    maps = cam(pixels)
    modules = dict(network.named_modules())
    for number, layer in enumerate(layers):
        with LayerCAM(network, [modules[layer]]) as library:
            theirs = torch.from_numpy(library(cam.normalize(pixels), None))
        assert_close(maps[:, number], theirs.float(), atol=2e-5, rtol=0)


def test_maps_do_not_depend_on_the_scale_of_the_logits(network, images):
    expected = LayerCam(network, POOLS)(images)
    with torch.no_grad():
        network.classifier[6].weight.mul_(1e-12)
        network.classifier[6].bias.mul_(1e-12)
    assert_close(LayerCam(network, POOLS)(images), expected)


def test_equal_values_everywhere_give_a_map_of_zeros():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.MaxPool2d(2))
    nn.init.constant_(network[0].weight, 0.3)
    assert (LayerCam(network, ["2"], "feature-energy")(torch.full((1, 3, 32, 40), 0.9)) == 0).all()


def test_what_overwrites_a_layer_does_not_change_its_map(images):
    tidy, overwriting = (seeded(lambda inplace=inplace: TinyVgg(inplace)).double().eval() for inplace in (False, True))
    layers = ["features.0", "features.3"]  # convolutions that a ReLU follows
    assert torch.equal(LayerCam(overwriting, layers)(images), LayerCam(tidy, layers)(images))


def test_parts_and_parameters_stay_as_they_were(images):
    network = seeded(lambda: resnet18(num_classes=3)).double().train()
    network.layer1.eval()
    network.conv1.weight.requires_grad_(requires_grad=False)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    learning = [parameter.requires_grad for parameter in network.parameters()]
    maps = LayerCam(network, ["layer2"])(images)
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == learning
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(maps, LayerCam(network.eval(), ["layer2"])(images))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(context, network, images):
    expected = LayerCam(network, POOLS)(images)
    with context():
        assert torch.equal(LayerCam(network, POOLS)(images.clone()), expected)


def test_computes_in_the_precision_of_autocast(network, images):
    cam = LayerCam(network.float(), POOLS)
    seen = []
    network.features[3].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        maps = cam(images.float())
    assert seen == [torch.bfloat16]
    assert maps.dtype == torch.float32
    assert (maps - cam(images.float())).abs().mean() < 0.01


def test_a_margin_is_an_image_that_was_continued_by_reflection(network, images):
    maps = LayerCam(network, POOLS, margin=8)(images)
    assert maps.shape == (3, 2, 20, 24)
    assert maps.amax() == 1
    whole = LayerCam(network, POOLS)(F.pad(images, (8, 8, 8, 8), mode="reflect"))[..., 8:-8, 8:-8]
    low, high = whole.amin(dim=(2, 3), keepdim=True), whole.amax(dim=(2, 3), keepdim=True)
    assert_close(maps, (whole - low) / (high - low), atol=1e-5, rtol=0)


def test_networks_that_return_several_features_are_judged_by_the_last(images):
    network = seeded(lambda: timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3))).double()
    last = seeded(lambda: timm.create_model("resnet18", features_only=True, out_indices=(3,))).double()

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, pixels):
            return dict(enumerate(self.network(pixels)))

    expected = LayerCam(last, ["layer1"], "feature-energy")(images)
    assert_close(LayerCam(network, ["layer1"], "feature-energy")(images), expected)
    assert_close(LayerCam(Named(), ["network.layer1"], "feature-energy")(images), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": []}, "layers must be different ones of .*, at least one"),
        ({"layers": ["features.2", "features.2"]}, "must be different ones of"),
        ({"layers": ["features.22"]}, r"must be different ones of .*, got \('features.22',\)"),
        ({"target": "mean"}, "target must be one of .*, got 'mean'"),
        ({"margin": -1}, "margin must be at least 0, got -1"),
    ],
)
def test_refuses_options_that_cannot_be(options, message, network):
    with pytest.raises(ValueError, match=message):
        LayerCam(network, **{"layers": POOLS} | options)


def test_refuses_features_where_a_class_is_the_target(network, images):
    with pytest.raises(ValueError, match=r'returns \(3, 8, 5, 6\) instead of logits .* use target="feature-energy"'):
        LayerCam(network.features, ["2"])(images)


def test_refuses_a_layer_that_runs_twice(images):
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 3, 1), relu, nn.Conv2d(3, 3, 1), relu).double()
    with pytest.raises(ValueError, match="layer 1 runs more than once"):
        LayerCam(network, ["1"], "feature-energy")(images)


def test_refuses_a_layer_that_does_not_run(network, images):
    network.spare = nn.Identity()
    with pytest.raises(ValueError, match="layers spare do not run in a forward pass of TinyVgg"):
        LayerCam(network, ["spare", *POOLS])(images)


def test_refuses_a_layer_without_positions(network, images):
    with pytest.raises(ValueError, match=r"layer classifier.0 returns \(3, 8\) instead of feature maps"):
        LayerCam(network, ["classifier.0"])(images)


def test_refuses_a_network_without_gradients(images):
    class Detached(TinyVgg):
        def forward(self, images):
            return super().forward(images).detach()

    with pytest.raises(ValueError, match=r"the output of Detached does not depend on features.2, features.5"):
        LayerCam(Detached().double(), POOLS)(images)


def test_a_margin_is_less_than_the_image(network, images):
    assert images.shape[-2:] == (20, 24)
    assert torch.equal(LayerCam(network, POOLS, margin=50)(images), LayerCam(network, POOLS, margin=19)(images))


def test_the_default_layers_of_vgg16_are_its_poolings():
    with torch.device("meta"):
        features = vgg16().features
    pools = [index for index, module in enumerate(features) if isinstance(module, nn.MaxPool2d)]
    assert tuple(pools) == VGG16_POOLS


def test_vgg16_gives_five_maps_and_is_frozen():
    cam = vgg16_saliency(pre_trained=False)
    maps = cam(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert maps.shape == (2, 5, 64, 64)
    assert (maps.amax(dim=(2, 3)) == 1).all()
    assert not cam.network.training
    assert not any(parameter.requires_grad for parameter in cam.network.parameters())


@pytest.fixture
def tiny_vgg16(monkeypatch, tmp_path):
    """A small network instead of VGG-16, a file of it and a file of its features."""
    monkeypatch.setattr(saliency, "vgg16", lambda weights: TinyVgg())
    network = seeded(TinyVgg).eval()
    whole, features = tmp_path / "whole.pt", tmp_path / "features.pt"
    torch.save(network.state_dict(), whole)
    torch.save({name: each.half() for name, each in network.state_dict().items() if "features" in name}, features)
    return network, whole, features


def test_a_file_with_a_classifier_makes_the_class_the_target(tiny_vgg16, images):
    network, whole, _ = tiny_vgg16
    cam = vgg16_saliency(whole, layers=(2, 5))
    assert_close(cam(images.float()), LayerCam(network, POOLS)(images.float()))


@pytest.mark.parametrize("untrained", [False, True], ids=["no classifier", "a random one"])
def test_a_file_without_a_trained_classifier_makes_the_energy_of_features_the_target(
    tiny_vgg16, images, tmp_path, untrained
):
    network, _, features = tiny_vgg16
    if untrained:  # as torchvision's VGG-16 begins
        state = torch.load(features)
        state |= {"classifier.6.weight": 0.01 * torch.randn(10, 8), "classifier.6.bias": torch.zeros(10)}
        features = tmp_path / "random.pt"
        torch.save(state, features)
    cam = vgg16_saliency(features, layers=(2, 5))
    expected = LayerCam(nn.Sequential(network.features.half().float()), ["0.2", "0.5"], "feature-energy")
    assert_close(cam(images.float()), expected(images.float()), atol=1e-4, rtol=0)


def test_weights_are_looked_up_where_no_file_is_named(tiny_vgg16, images, monkeypatch):
    network, whole, _ = tiny_vgg16
    for module in ("models.cutswap_patchcore.saliency", "components.weights"):
        monkeypatch.setattr(f"anomalib_plugins.{module}.imagenet_state_dict", lambda name: torch.load(whole))
    cam = vgg16_saliency(layers=(2,), target="feature-energy")
    expected = LayerCam(nn.Sequential(network.features), ["0.2"], "feature-energy")
    assert_close(cam(images.float()), expected(images.float()))


def test_refuses_a_class_of_a_file_without_a_classifier(tiny_vgg16):
    with pytest.raises(ValueError, match=r'features.pt has no trained classifier .* use target="feature-energy"'):
        vgg16_saliency(tiny_vgg16[2], layers=(2,), target="class")


def test_refuses_a_file_with_gaps(tiny_vgg16, tmp_path):
    state = tiny_vgg16[0].features.state_dict(prefix="features.")
    del state["features.3.bias"]
    torch.save(state, tmp_path / "gap.pt")
    with pytest.raises(ValueError, match=r"gap.pt lacks tensors of VGG-16: features.3.bias"):
        vgg16_saliency(tmp_path / "gap.pt", layers=(2,))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_maps(network, images):
    expected = LayerCam(network, POOLS)(images)
    assert_close(LayerCam(network.cuda(), POOLS)(images.cuda()).cpu(), expected, atol=1e-5, rtol=0)
