# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import shutil
import socket
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.models import AnomalibModule
from lightning.pytorch import Callback
from PIL import Image

from anomalib_plugins.registry import PLUGINS

from ..photos import draw
from .cases import CASES

SIZE = (64, 64)


class Fit(NamedTuple):
    """A finished training."""

    model: AnomalibModule
    engine: Engine
    checkpoints: list[Path]  # of the end of each epoch
    start: dict[str, torch.Tensor]  # the model's state before

    @property
    def state(self):
        """The model's state after."""
        return self.model.state_dict()


class Runaway(Callback):
    """Fails a fit that ignores the trainer's limits, which would otherwise take hours."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        assert trainer.fit_loop.total_batch_idx < 100, "the trainer's limits were ignored"


@pytest.fixture(scope="module", autouse=True)
def _offline():
    """No test here may need a network."""

    def refuse(*args):
        msg = f"the network is switched off in these tests, asked for {args[-1]}"
        raise OSError(msg)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Folder of 5 good photos to train on, 8 good and 8 bad ones with masks to test on."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    (root / "mask").mkdir()
    for i in range(5):
        draw(root / f"good/{i}.png", rng)
    for i in range(8):
        draw(root / f"good_test/{i}.png", rng)
        hole = draw(root / f"bad/{i}.png", rng, defect=True)
        Image.fromarray(np.uint8(hole * 255)).save(root / f"mask/{i}.png")
    return root


@pytest.fixture(scope="session")
def datamodule(photos):
    """Makes a datamodule of the photos; half of the test photos are the validation set, the other half the test set."""
    folders = {"normal_dir": "good", "abnormal_dir": "bad", "normal_test_dir": "good_test", "mask_dir": "mask"}
    batches = {"train_batch_size": 4, "eval_batch_size": 4, "num_workers": 0}
    return lambda: Folder(name="discs", root=photos, **folders, **batches, seed=0)


@pytest.fixture(scope="module", params=[plugin for plugin in PLUGINS if plugin.kind == "model"], ids=lambda p: p.name)
def plugin(request):
    """Every registered model in turn."""
    return request.param


@pytest.fixture(scope="module")
def build(plugin):
    """Builds the model small; ``endless`` makes its schedule long."""

    def build(endless=False, **arguments):
        case = CASES[plugin.name]
        return plugin.load()(**{
            "image_size": SIZE,
            "seed": 0,
            **case.small,
            **(case.endless if endless else {}),
            **arguments,
        })

    return build


@pytest.fixture(scope="module")
def fit(datamodule, tmp_path_factory):
    """Trains a model through anomalib's engine, from a global seed that no other fit has."""
    folders = []

    def fit(model, ckpt_path=None, keep=False, data=None, **trainer):
        folders.append(tmp_path_factory.mktemp("fit"))
        torch.manual_seed(1000 + len(folders))
        start = {name: each.clone() for name, each in model.state_dict().items()}
        saving = ModelCheckpoint(
            dirpath=folders[-1],
            filename="{epoch:03}",
            save_top_k=-1 if keep else 0,
            save_on_train_epoch_end=True,
        )
        quiet = {"enable_progress_bar": False, "enable_model_summary": False}
        engine = Engine(
            default_root_dir=folders[-1],
            callbacks=[saving, Runaway()],
            accelerator="cpu",
            **quiet,
            **trainer,
        )
        engine.fit(model, datamodule=data or datamodule(), ckpt_path=ckpt_path)
        return Fit(model.eval(), engine, sorted(folders[-1].glob("*.ckpt")), start)

    yield fit
    for folder in folders:  # checkpoints are large, and pytest keeps folders for days
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def trained(build, fit):
    """One unbroken training that most tests share: they must leave its model as it is."""
    return fit(build(), keep=True)
