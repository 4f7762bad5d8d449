# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What an INT8 model is calibrated on. That calibrated models keep their accuracy is measured, not tested."""

import sys
from types import SimpleNamespace

import pytest
import torch

from anomalib_plugins.components.quantization import quantize, resizing
from anomalib_plugins.components.resize import antialiased_resize
from anomalib_plugins.models.base import PluginModule

openvino = pytest.importorskip("openvino")


class Data:
    """Ten training images of 12 x 20 pixels, each of one grey."""

    def setup(self, stage):
        assert stage == "fit"
        images = [SimpleNamespace(image=torch.full((3, 12, 20), number / 10)) for number in range(10)]
        self.loader = SimpleNamespace(dataset=images)

    def train_dataloader(self):
        return self.loader


def network(*size):
    """A convolution that takes images of a size, ``-1`` any."""
    module = torch.nn.Conv2d(3, 4, 3, padding=1)
    return openvino.convert_model(module, example_input=torch.rand(1, 3, 8, 8), input=[-1, 3, *size])


@pytest.fixture
def calibrated(monkeypatch):
    """Images that a stand-in for NNCF was calibrated with."""
    images = []

    def fake(model, dataset, subset_size, ignored_scope):
        assert ignored_scope == {"names": []}
        images.extend(dataset)
        assert len(images) == subset_size
        return model

    nncf = SimpleNamespace(quantize=fake, Dataset=lambda items, transform: map(transform, items), IgnoredScope=dict)
    monkeypatch.setitem(sys.modules, "nncf", nncf)
    return images


def test_training_images_calibrate_at_the_models_size(calibrated):
    quantize(network(-1, -1), Data(), (8, 16))
    assert [image.shape for image in calibrated] == [(1, 3, 8, 16)] * 10
    assert [round(float(10 * image.mean())) for image in calibrated] == list(range(10))


def test_a_fixed_input_size_is_kept(calibrated):
    quantize(network(6, 10), Data(), (8, 16))
    assert {image.shape for image in calibrated} == {(1, 3, 6, 10)}


def test_fewer_images_are_evenly_chosen(calibrated):
    quantize(network(-1, -1), Data(), (8, 8), count=4)
    assert [round(float(10 * image.mean())) for image in calibrated] == [0, 2, 5, 7]


def test_nncf_takes_them():
    pytest.importorskip("nncf")
    plain = network(-1, -1)
    image = torch.full((1, 3, 8, 8), 0.3).numpy()  # NNCF clips at the mean of the largest pixels, 0.45
    expected = openvino.compile_model(plain, "CPU")(image)[0]
    small = quantize(plain, Data(), (8, 8))
    assert any(each.get_type_name() == "FakeQuantize" for each in small.get_ops())
    found = openvino.compile_model(small, "CPU")(image)[0]
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(expected), rtol=0, atol=0.05)


class Shrinks(torch.nn.Module):
    """A network that resizes first, with a matrix product behind its convolution."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        features = self.conv(antialiased_resize(images, (8, 8)))
        return features @ features.mT


def test_the_resize_is_not_quantised_and_what_follows_is(tmp_path):
    pytest.importorskip("nncf")
    path = tmp_path / "model.onnx"
    sizes = {"images": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(Shrinks().eval(), (torch.rand(2, 3, 12, 20),), path, dynamic_shapes=sizes, verbose=False)
    small = quantize(openvino.convert_model(path), Data(), (8, 8))
    kinds = {"Convolution": [], "MatMul": []}
    for each in small.get_ops():
        sources = [each.input_value(number).get_node().get_type_name() for number in range(len(each.inputs()))]
        kinds.get(each.get_type_name(), []).append("FakeQuantize" in sources)
    assert len(resizing(small)) == 2
    assert sorted(kinds["MatMul"]) == [False, False, True]
    assert kinds["Convolution"] == [True]


def test_a_models_export_calibrates_so_and_says_what_it_needs(calibrated):
    model = PluginModule()
    model.input_size = (8, 16)
    model._post_training_quantization_ov(network(-1, -1), Data())
    assert {image.shape for image in calibrated} == {(1, 3, 8, 16)}
    with pytest.raises(ValueError, match="INT8_PTQ calibrates on training images: name the datamodule"):
        model._post_training_quantization_ov(network(-1, -1))
