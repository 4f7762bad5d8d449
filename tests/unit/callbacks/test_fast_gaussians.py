# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""anomalib's Padim learns the same from sums of batches, and is anomalib's own again."""

import pytest
import torch
from anomalib.models import Padim, Patchcore
from anomalib.models.components import MultiVariateGaussian
from torch.testing import assert_close

from anomalib_plugins.callbacks.fast_gaussians import FastGaussians, Gathered


def padim():
    torch.manual_seed(0)
    return Padim(backbone="resnet18", pre_trained=False, pre_processor=False)


def is_anomalibs(model):
    return type(model.model.memory_bank) is list and "fit" not in vars(model.model.gaussian)


def test_padim_learns_and_predicts_the_same_without_anomalibs_fit(fit, monkeypatch):
    own = fit(padim())
    monkeypatch.delattr(MultiVariateGaussian, "forward")
    fast = fit(padim(), FastGaussians())
    assert is_anomalibs(fast)
    assert_close(
        fast.state_dict(), own.state_dict(), rtol=0, atol=1e-3, equal_nan=True
    )  # inverse covariances reach 100
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert_close(fast.model(images), own.model(images), rtol=1e-4, atol=1e-4)


def test_no_embedding_is_kept():
    gathered = Gathered(MultiVariateGaussian())
    for seed in range(3):
        gathered.append(torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed)))
    assert torch.vstack(gathered).shape == (0, 5, 3, 4)
    assert all(each.untyped_storage().nbytes() == 0 for each in gathered)


def test_padim_is_anomalibs_again_after_a_failure(fit, monkeypatch):
    model = padim()

    def fail(*_):
        assert not is_anomalibs(model)
        raise InterruptedError

    monkeypatch.setattr(model, "training_step", fail)
    with pytest.raises(InterruptedError):
        fit(model, FastGaussians())
    assert is_anomalibs(model)


def test_models_without_gaussians_are_refused():
    with pytest.raises(TypeError, match="FastGaussians works with anomalib's Padim only, not with Patchcore"):
        FastGaussians().setup(None, Patchcore(backbone="resnet18", pre_trained=False), "fit")
