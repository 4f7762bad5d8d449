# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What anomalib's own integration tests ask of every model: each verb in turn on a model with its default options.

The defaults but for what costs minutes: small images, ResNet-18 in place of a wide ResNet-50, no loader processes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from anomalib.data import MVTecAD
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from PIL import Image
from torch.testing import assert_close
from torchvision.models import vgg16

from ..photos import draw

EXPORTED = {
    ExportType.TORCH: "weights/torch/model.pt",
    ExportType.ONNX: "weights/onnx/model.onnx",
    ExportType.OPENVINO: "weights/openvino/model.xml",
}


@pytest.fixture(scope="module", autouse=True)
def _weights(tmp_path_factory):
    """Random weights where the defaults look for ImageNet's."""
    folder = tmp_path_factory.mktemp("torch")
    (folder / "hub/checkpoints").mkdir(parents=True)
    with torch.device("meta"):  # 138 million parameters
        features = vgg16().features
    vgg = {f"features.{name}": torch.randn(each.shape) / 30 for name, each in features.state_dict().items()}
    torch.save(vgg, folder / "hub/checkpoints/vgg16-397923af.pth")
    torch.save(timm.create_model("resnet18").state_dict(), folder / "hub/checkpoints/resnet18-f37072fd.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder))
        yield


@pytest.fixture(scope="module")
def dummy(tmp_path_factory) -> Path:
    """MVTec AD's layout: 5 good photos to train on, 5 good and 5 bad ones to test on."""
    root, rng = tmp_path_factory.mktemp("data") / "dummy", np.random.default_rng(0)
    (root / "ground_truth/bad").mkdir(parents=True)
    for i in range(5):
        draw(root / f"train/good/{i:03}.png", rng)
        draw(root / f"test/good/{i:03}.png", rng)
        hole = draw(root / f"test/bad/{i:03}.png", rng, defect=True)
        Image.fromarray(np.uint8(hole) * 255).save(root / f"ground_truth/bad/{i:03}_mask.png")
    return root


@pytest.fixture(scope="module")
def project(plugin, tmp_path_factory) -> Path:
    """Folder of all runs of a model."""
    return tmp_path_factory.mktemp(plugin.name)


@pytest.fixture
def fresh(plugin, dummy, project) -> tuple[AnomalibModule, MVTecAD, Engine]:
    """A model, data and an engine of which nothing was asked yet."""
    small: dict[str, Any] = {"backbone": "resnet18"} if plugin.name.startswith("Sbm") else {}
    model = get_model(plugin.name, image_size=(64, 64), **small)
    data = MVTecAD(root=dummy.parent, category=dummy.name, train_batch_size=2, num_workers=0)
    return model, data, Engine(max_epochs=1, devices=1, logger=False, default_root_dir=project, accelerator="cpu")


@pytest.fixture(scope="module")
def run(plugin, project) -> Path:
    """Folder of the first run; the tests below go in order."""
    return project / plugin.name / "MVTecAD/dummy/v0"


@pytest.fixture(scope="module")
def checkpoint(run) -> Path:
    return run / "weights/lightning/model.ckpt"


def test_fit(fresh, checkpoint):
    model, data, engine = fresh
    engine.fit(model, datamodule=data)
    assert checkpoint.is_file()


def test_test(fresh, checkpoint):
    model, data, engine = fresh
    (metrics,) = engine.test(model, datamodule=data, ckpt_path=checkpoint)
    assert metrics["image_AUROC"] >= 0


def test_train(fresh, checkpoint):
    """From a checkpoint that has all of it behind it: nothing is trained."""
    model, data, engine = fresh
    with pytest.warns(UserWarning, match="steps behind it: nothing is trained"):
        (metrics,) = engine.train(model, datamodule=data, ckpt_path=checkpoint)
    assert metrics["image_AUROC"] >= 0
    assert_close(
        dict(model.state_dict()),
        torch.load(checkpoint, weights_only=True)["state_dict"],
        rtol=0,
        atol=0,
        equal_nan=True,
    )


def test_validate(fresh, checkpoint):
    model, data, engine = fresh
    engine.validate(model, datamodule=data, ckpt_path=checkpoint)


def test_predict(fresh, checkpoint):
    model, data, engine = fresh
    assert len(engine.predict(model, datamodule=data, ckpt_path=checkpoint)) > 0


@pytest.mark.parametrize("kind", EXPORTED)
def test_export(fresh, checkpoint, project, kind):
    model, _, engine = fresh
    engine.export(model, kind, ckpt_path=checkpoint)
    assert (project / EXPORTED[kind]).is_file()
