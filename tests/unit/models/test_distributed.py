# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import sys

import pytest
import torch
from torch import nn

from anomalib_plugins.models import Pouta, Slsg
from anomalib_plugins.models.slsg import lightning_model as slsg_module
from anomalib_plugins.synthesis import SyntheticBatch

from ...training import fit, good_images

SIDE = 32
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes")


def dark_corner(images, *_, **__):
    """An anomaly that depends on the image alone: each process draws others of its own."""
    mask = torch.zeros_like(images[:, :1])
    mask[..., : SIDE // 2, : SIDE // 2] = 1
    return SyntheticBatch(images * (1 - mask), mask, torch.ones(len(images), dtype=torch.long))


def pouta(batch_size):
    model = Pouta(image_size=(SIDE, SIDE), epochs=1, batch_size=batch_size, seed=0)
    model.simulate = lambda step: dark_corner(step.images)
    return model


def slsg(batch_size):
    lengths = {"pretrain_epochs": 1, "pretrain_batch_size": batch_size, "steps": 2, "batch_size": batch_size}
    model = Slsg(image_size=(SIDE, SIDE), encoder="test_resnet", width=0.1, encoder_bn="eval", seed=0, **lengths)
    model.simulator = dark_corner
    model.masks = lambda images, **_: dark_corner(images).mask
    return model


def trained(build, processes):
    """Train with four images a step, and with batch statistics that are nobody's: each process has its own."""
    model = build(4 // processes)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    model.on_train_batch_start = lambda *_: [norm.eval() for norm in norms] and None
    strategy = "auto" if processes == 1 else "ddp_fork_find_unused_parameters_true"
    data = good_images(8, (SIDE, SIDE), 4 // processes, shuffle=True)
    return fit(model, data, devices=processes, strategy=strategy, limit_val_batches=0)


@pytest.mark.parametrize("build", [pouta, slsg])
def test_two_processes_reach_the_parameters_of_one(monkeypatch, build):
    monkeypatch.setattr(slsg_module, "colour_jitter", lambda images, **_: images)
    models = build(4), trained(build, 1), trained(build, 2)
    before, alone, together = (torch.cat([each.detach().flatten() for each in model.parameters()]) for model in models)
    way = (alone - before).norm()
    assert way > 0
    # Adam makes steps of full length of gradients that are nothing but rounding, hence a share and not digits.
    assert (together - alone).norm() < 0.01 * way
    # Of all images, not of those that the first process had.
    thresholds = [float(each.post_processor.image_threshold) for each in models[1:]]
    assert thresholds[1] == pytest.approx(thresholds[0], rel=0.01)
