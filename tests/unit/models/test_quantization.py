# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.deploy import CompressionType
from anomalib.models import AnomalibModule
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Resize

from anomalib_plugins.components.resize import antialiased_resize
from anomalib_plugins.models.base import PluginModule
from anomalib_plugins.models.quantization import compiled, quantize, report_quantization_loss

openvino = pytest.importorskip("openvino")


class Data:
    """Ten images of 12 x 20 pixels, each of one grey; the bright half has defects."""

    def setup(self, stage):
        assert stage == "fit"
        greys = [(torch.full((3, 12, 20), number / 10), torch.tensor(number > 4)) for number in range(10)]
        self.loader = SimpleNamespace(dataset=[SimpleNamespace(image=image, gt_label=label) for image, label in greys])

    def train_dataloader(self):
        return self.loader

    def val_dataloader(self):
        return self.loader


def grey(factor=1.0, size=(-1, -1)):
    """A network that scores how bright an image is, times a factor."""
    from openvino import opset13 as ops

    images = ops.parameter([-1, 3, *size], np.float32)
    score = ops.multiply(ops.reduce_mean(images, np.array([1, 2, 3])), np.float32(factor))
    score.output(0).set_names({"pred_score"})
    return openvino.Model([score], [images])


@pytest.fixture
def calibrated(monkeypatch):
    """Images that a stand-in for NNCF was calibrated with."""
    images = []

    def fake(model, calibration_dataset, subset_size, ignored_scope):
        assert set(ignored_scope) == {"names"}
        images.extend(calibration_dataset)
        assert len(images) == subset_size
        return model

    nncf = SimpleNamespace(quantize=fake, Dataset=lambda items, transform: map(transform, items), IgnoredScope=dict)
    monkeypatch.setitem(sys.modules, "nncf", nncf)
    return images


def test_a_fixed_input_size_is_kept(calibrated):
    quantize(grey(size=(6, 10)), Data(), (8, 16))
    assert {image.shape for image in calibrated} == {(1, 3, 6, 10)}


def test_fewer_images_are_evenly_chosen(calibrated):
    quantize(grey(), Data(), (8, 8), count=4)
    assert [round(float(10 * image.mean())) for image in calibrated] == [0, 2, 5, 7]


class Network(torch.nn.Module):
    """A network that resizes, convolves twice with a matrix product between, and smooths a product's sum."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 5, 3, padding=1)
        self.smooth = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, images):
        features = self.first(antialiased_resize(images, (8, 8)))
        features = self.second(features @ features.mT)
        return self.smooth((features @ features.mT).sum(dim=1, keepdim=True))


def test_what_lies_between_the_first_convolution_and_the_last_is_quantised_and_nothing_else(tmp_path):
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    sizes = {"images": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(Network().eval(), (torch.rand(2, 3, 12, 20),), path, dynamic_shapes=sizes, verbose=False)
    plain = openvino.convert_model(path)
    small = quantize(plain, Data(), (8, 8))
    kinds = {"Convolution": [], "MatMul": []}
    for each in small.get_ordered_ops():
        sources = [each.input_value(number).get_node().get_type_name() for number in range(len(each.inputs()))]
        kinds.get(each.get_type_name(), []).append("FakeQuantize" in sources)
    assert kinds == {"Convolution": [False, True, False], "MatMul": [False, False, True, False]}
    grey = torch.full((1, 3, 12, 20), 0.3).numpy()  # NNCF clips at the mean of the largest pixels, 0.45
    expected, found = (torch.from_numpy(compiled(each)(grey)[0]) for each in (plain, small))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1 * expected.abs().max().item())


@pytest.fixture
def images():
    data = Data()
    data.setup("fit")
    return data.val_dataloader().dataset


def test_what_8_bits_keep_is_said_and_what_they_lose_is_warned_of(images, caplog, recwarn):
    with caplog.at_level(logging.INFO):
        report_quantization_loss(grey(), grey(0.9), images, (8, 16))
    assert (
        "INT8: image AUROC of 10 validation images is 100.0 points, in float32 100.0; verdicts that changed: 0."
        in caplog.text
    )
    assert not recwarn
    with pytest.warns(UserWarning, match=r"is 50.0 points, in float32 100.0; .*: 4. Export without --compression_type"):
        report_quantization_loss(grey(), grey(0.0), images, (8, 16))
    with pytest.warns(UserWarning, match=r"is 100.0 points, in float32 100.0; .*: 1. The order of images is kept"):
        report_quantization_loss(grey(), grey(1.1), images, (8, 16))


def test_without_defects_what_they_lose_is_not_known(images):
    with pytest.warns(UserWarning, match="INT8: no validation images with and without defects"):
        report_quantization_loss(grey(), grey(), images[:5], (8, 16))


@pytest.fixture
def export(tmp_path, monkeypatch):
    def run(network, kind, **options):
        model = Plain(pre_processor=PreProcessor(Resize((8, 16))))
        monkeypatch.setattr(model, "to_onnx", lambda *_: "model.onnx")
        monkeypatch.setattr(openvino, "convert_model", lambda _: network)
        return model.to_openvino(tmp_path, compression_type=kind, **options)

    return run


class Plain(PluginModule, AnomalibModule):
    trainer_arguments = None


def test_accuracy_is_judged_one_image_at_a_time_at_the_models_size(calibrated, export, monkeypatch):
    sizes, drops = [], []

    def judge(model, calibration_dataset, validation_dataset, validation_fn, max_drop, **_):
        def found(image, score):
            sizes.append(image.shape)
            return {"pred_score": [[score]], "pred_label": [[score > 0.45]]}

        everything = list(validation_dataset)
        assert validation_fn(lambda image: found(image, image.mean()), everything) == 1
        assert validation_fn(lambda image: found(image, 0), everything) == 0
        assert len(list(calibration_dataset)) == 10
        drops.append(max_drop)
        return model

    monkeypatch.setattr(sys.modules["nncf"], "quantize_with_accuracy_control", judge, raising=False)
    monkeypatch.setattr(sys.modules["nncf"], "Dataset", lambda items, taken=lambda each: each: map(taken, items))
    export(grey(), CompressionType.INT8_ACQ, datamodule=Data(), max_drop=0.02)
    assert drops == [0.02]
    assert set(sizes) == {(1, 3, 8, 16)}


def test_a_models_export_calibrates_so_and_says_what_was_lost(calibrated, export, caplog):
    with caplog.at_level(logging.INFO):
        path = export(grey(), CompressionType.INT8_PTQ, datamodule=Data())
    assert "INT8: image AUROC of 10 validation images" in caplog.text
    assert {image.shape for image in calibrated} == {(1, 3, 8, 16)}
    assert openvino.Core().read_model(path).output(0).any_name == "pred_score"


@pytest.mark.parametrize("kind", [CompressionType.INT8_PTQ, CompressionType.INT8_ACQ, "int8_acq"])
def test_8_bits_need_training_images(export, kind):
    with pytest.raises(
        ValueError, match=f"{CompressionType(kind).name} calibrates on training images: name the datamodule"
    ):
        export(grey(), kind)
