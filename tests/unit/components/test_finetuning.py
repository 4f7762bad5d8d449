# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.finetuning import FineTuning


@pytest.fixture
def backbone():
    return Backbone("resnet10t", ["layer2"])


def weight(backbone):
    return backbone.network.conv1[0].weight


def tune(tuning, backbone, value):
    """Learn one value for all weights."""
    torch.nn.init.constant_(weight(backbone), value)
    tuning.pending = True


def test_a_resumed_run_interpolates_with_its_own_start(backbone):
    first, resumed = FineTuning(0.1, interpolation=0.25), FineTuning(0.1, interpolation=0.25)
    torch.nn.init.zeros_(weight(backbone))
    first.begin(backbone)
    tune(first, backbone, 1.0)
    resumed.load_state_dict(first.state_dict())
    resumed.begin(backbone)
    resumed.finish(backbone)
    assert_close(weight(backbone), torch.full_like(weight(backbone), 0.25))


def test_a_finished_run_that_is_trained_on_is_not_interpolated_with_its_first_start(backbone):
    first, longer = FineTuning(0.1, interpolation=0.5), FineTuning(0.1, interpolation=0.5)
    torch.nn.init.zeros_(weight(backbone))
    first.begin(backbone)
    tune(first, backbone, 1.0)
    first.finish(backbone)  # leaves 0.5
    longer.load_state_dict(first.state_dict())
    longer.begin(backbone)
    tune(longer, backbone, 1.5)
    longer.finish(backbone)
    assert_close(weight(backbone), torch.ones_like(weight(backbone)))
