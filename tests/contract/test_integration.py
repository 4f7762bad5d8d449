# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What anomalib's own integration tests ask of every model: each verb in turn on a model with its default options.

The defaults but for what costs minutes: small images, ResNet-18 in place of a wide ResNet-50, no loader processes.
"""

from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from anomalib.cli import AnomalibCLI
from anomalib.data import MVTecAD
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from anomalib.models import get_model
from anomalib.pipelines import Benchmark
from anomalib.pipelines.tiled_ensemble import EvalTiledEnsemble, TrainTiledEnsemble
from PIL import Image
from torch.testing import assert_close
from torchvision.models import vgg16

from ..photos import draw


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
def dummy(tmp_path_factory):
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
def project(plugin, tmp_path_factory):
    """Folder of all runs of a model."""
    return tmp_path_factory.mktemp(plugin.name)


@pytest.fixture
def fresh(plugin, dummy, project):
    """A model, data and an engine of which nothing was asked yet."""
    small: dict[str, Any] = {"backbone": "resnet18"} if plugin.name.startswith("Sbm") else {}
    model = get_model(plugin.name, image_size=(64, 64), **small)
    data = MVTecAD(root=dummy.parent, category=dummy.name, train_batch_size=2, num_workers=0)
    return model, data, Engine(max_epochs=1, devices=1, logger=False, default_root_dir=project, accelerator="cpu")


@pytest.fixture(scope="module")
def run(plugin, project):
    """Folder of the first run; the tests below go in order."""
    return project / plugin.name / "MVTecAD/dummy/v0"


@pytest.fixture(scope="module")
def checkpoint(run):
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


def test_export(fresh, checkpoint, project):
    """To torch; to ONNX and OpenVINO, which take longer, in ``test_contract.py``."""
    model, _, engine = fresh
    engine.export(model, ExportType.TORCH, ckpt_path=checkpoint)
    assert (project / "weights/torch/model.pt").is_file()


# The other integration tests, of the command line and of pipelines, on one model each.


def cli(verb, dummy, folder, *arguments):
    AnomalibCLI([
        *(verb, "--model", "Pouta", "--model.image_size", "[64,64]", "--default_root_dir", str(folder)),
        *("--data", "MVTecAD", "--data.root", str(dummy.parent), "--data.category", dummy.name),
        *("--data.num_workers", "0", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", *arguments),
    ])


def test_command_line_fits_tests_and_exports(dummy, tmp_path):
    cli("fit", dummy, tmp_path)
    checkpoint = str(tmp_path / "Pouta/MVTecAD/dummy/v0/weights/lightning/model.ckpt")
    cli("test", dummy, tmp_path, "--ckpt_path", checkpoint)
    arguments = ["--model", "Pouta", "--model.image_size", "[64,64]", "--ckpt_path", checkpoint]
    AnomalibCLI(["export", *arguments, "--export_type", "openvino", "--default_root_dir", str(tmp_path)])
    assert len(list(tmp_path.rglob("weights/openvino/model.xml"))) == 1


def test_benchmark_pipeline(dummy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"root": str(dummy.parent), "category": dummy.name, "num_workers": 0}
    config = {
        "accelerator": "cpu",
        "benchmark": {
            "seed": 0,
            "model": {"class_path": "Pouta", "init_args": {"epochs": 1, "image_size": [64, 64]}},
            "data": {"class_path": "MVTecAD", "init_args": data},
        },
    }
    run_pipeline(Benchmark(), config, tmp_path)
    assert list(tmp_path.rglob("results.csv"))


def test_tiled_ensemble(dummy, tmp_path, monkeypatch, capsys):
    """CutSwap looks at the files' saliency, which is not that of tiles."""
    monkeypatch.chdir(tmp_path)
    warnings = []
    monkeypatch.setattr("anomalib_plugins.models.cutswap_patchcore.pretext.rank_zero_warn", warnings.append)
    data = {"root": str(dummy.parent), "category": dummy.name, "num_workers": 0}
    splits = {"test_split_mode": "from_dir", "val_split_mode": "same_as_test"}
    config = {
        "seed": 0,
        "accelerator": "cpu",
        "default_root_dir": str(tmp_path),
        "tiling": {"image_size": [48, 64], "tile_size": [48, 48], "stride": 16},
        "normalization_stage": "image",
        "thresholding_stage": "image",
        "data": {"class_path": "anomalib.data.MVTecAD", "init_args": {**data, **splits}},
        "SeamSmoothing": {"apply": False, "sigma": 2, "width": 0.1},
        "TrainModels": {"model": {"class_path": "CutSwapPatchcore"}, "trainer": {"max_epochs": 1}},
    }
    run_pipeline(TrainTiledEnsemble(), config, tmp_path)
    assert any("as in a tiled ensemble: patches lie anywhere" in each for each in warnings)
    folder = tmp_path / "CutSwapPatchcore/MVTecAD/dummy/v0"
    run_pipeline(EvalTiledEnsemble(root_dir=folder), config, tmp_path)
    assert "errors" not in capsys.readouterr().out
    assert (folder / "metric_results.csv").is_file()


def run_pipeline(pipeline, config, folder):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    pipeline.run(pipeline.get_parser().parse_args(["--config", str(path)]))
