# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The benchmark of the saliency."""

import sys

import pytest
import torch

from anomalib_plugins.benchmark import saliency_speed


def test_prints_both_tables_and_the_inertia(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["saliency_speed", "--size", "32", "--repeats", "1"])
    monkeypatch.setattr(saliency_speed.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(saliency_speed, "vgg16_saliency", _small)
    saliency_speed.main()
    printed = capsys.readouterr().out
    for row in ("pytorch-grad-cam, once a layer", "LayerCam", "scikit-learn KMeans, 10 starts", "kmeans_1d"):
        assert any(line.startswith(row) and line.endswith(" x") for line in printed.splitlines())
    assert float(printed.split()[-1]) <= 1.0001


def _small(weights=None, target=None, pre_trained=True):
    """A small network instead of VGG-16."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.MaxPool2d(2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    return saliency_speed.LayerCam(network, ["0", "1"])
