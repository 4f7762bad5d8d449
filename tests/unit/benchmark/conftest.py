# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import os

import anomalib.models
import pytest
import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.models import AnomalibModule
from anomalib.models.components import MemoryBankMixin
from PIL import Image
from torch import nn

from anomalib_plugins.benchmark import measure

SIDE = 32


class Scale(nn.Module):
    """Distance of each pixel to a learned grey, scaled far out of [0, 1]."""

    def __init__(self):
        super().__init__()
        self.grey = nn.Parameter(torch.rand(1))

    def forward(self, image):
        distance = 1000 * (image - self.grey).abs().amax(dim=1, keepdim=True)
        return InferenceBatch(pred_score=distance.amax(dim=(1, 2, 3)), anomaly_map=distance)


class GreyIterative(AnomalibModule):
    """Learns the mean grey step by step."""

    def __init__(self, rate=0.1, evaluator=True, visualizer=True):
        super().__init__(evaluator=evaluator, visualizer=visualizer)
        self.model = Scale()
        self.rate = rate

    def training_step(self, batch):
        return (batch.image - self.model.grey).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)

    @property
    def trainer_arguments(self):
        return {}

    @property
    def learning_type(self):
        return LearningType.ONE_CLASS


class GreySeeded(GreyIterative, AnomalibModule):
    """Takes a seed of its own, as the models of this package do."""

    def __init__(self, seed=None, evaluator=True, visualizer=True):
        super().__init__(evaluator=evaluator, visualizer=visualizer)
        self.seed = seed


class GreyOnePass(MemoryBankMixin, GreyIterative, AnomalibModule):
    """Sees its images once."""

    def fit(self):
        self.model.grey.data.fill_(0.0)

    @property
    def trainer_arguments(self):
        return {"max_epochs": 1}


class GreyCalibrated(GreyIterative, AnomalibModule):
    """Takes more than thresholds from validation images, as EfficientAd does: black the first time, then white."""

    calls = 0

    def validation_step(self, batch):
        """Validation happens."""

    def on_validation_start(self):
        self.model.grey.data.fill_(float(self.calls))
        self.calls += 1


@pytest.fixture(autouse=True)
def known_models(monkeypatch):
    """anomalib finds the models above by name."""
    for model in (GreyIterative, GreySeeded, GreyOnePass, GreyCalibrated):
        monkeypatch.setattr(anomalib.models, model.__name__, model, raising=False)


@pytest.fixture
def few_calls(monkeypatch):
    """Speed is measured in three calls in place of seconds."""
    monkeypatch.setattr(measure, "MAX_SECONDS", 0.0)


def forked(function):
    """Exit code of a child process that runs it."""
    child = os.fork()
    if not child:
        try:
            function()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def root(tmp_path):
    """A category of grey images with white spots, and masks."""
    folder = tmp_path / "data" / "bolt"
    for number, part in enumerate(["train/good"] * 4 + ["test/good"] * 3 + ["test/spot"] * 3):
        image = Image.new("RGB", (SIDE, SIDE), (100 + number,) * 3)
        (folder / part).mkdir(parents=True, exist_ok=True)
        if part == "test/spot":
            image.paste((255, 255, 255), (4, 4, 12, 12))
            mask = Image.new("L", (SIDE, SIDE))
            mask.paste(255, (4, 4, 12, 12))
            (folder / "ground_truth/spot").mkdir(parents=True, exist_ok=True)
            mask.save(folder / f"ground_truth/spot/{number:03}_mask.png")
        image.save(folder / part / f"{number:03}.png")
    return tmp_path / "data"
